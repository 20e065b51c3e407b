// The controls of one attention and, where the model takes several, one input size.

import { $ } from "./dom.js";

const NUMBERS = ["L", "r", "C", "ratio", "mergedC", "size"];

export class AttentionSetting {
  /** Put the controls into a fieldset, whose id names their group. */
  constructor(fieldset) {
    this.fieldset = fieldset;
    fieldset.append($("attention-setting").content.cloneNode(true));
    for (const choice of this.choices()) choice.name = fieldset.id;
    fieldset.addEventListener("input", () => this.show());
  }

  /** Take defaults and ranges from the model card; modes that do not apply cannot be chosen. */
  adopt({ attention_modes: modes, default_attention: usual, input_size: input }) {
    for (const choice of this.choices()) choice.disabled = !modes.includes(choice.value);
    Object.assign(this.option("size"), { min: input.min_size, max: input.max_size });
    this.fieldset.querySelector("[data-size]").hidden = input.min_size === input.max_size;
    this.set({ ...usual, size: input.shortest_side });
  }

  /** The setting: {mode, L, r, C, ratio, mergedC, size}; `mergedC` is 0 where what is left attends exactly. */
  get() {
    const numbers = NUMBERS.map((name) => [name, Number(this.option(name).value)]);
    return { mode: this.choices().find((choice) => choice.checked)?.value, ...Object.fromEntries(numbers) };
  }

  /** Set those parts that are given, as far as they are possible. */
  set({ mode, ...options }) {
    const choice = this.choices().find((one) => one.value === mode && !one.disabled);
    if (choice) choice.checked = true;
    for (const name of NUMBERS)
      if (Number.isFinite(options[name])) this.option(name).value = options[name];
    this.show();
  }

  show() {
    const { mode } = this.get();
    for (const row of this.fieldset.querySelectorAll("[data-mode]")) row.hidden = row.dataset.mode !== mode;
    for (const shown of this.fieldset.querySelectorAll(".value"))
      shown.textContent = shown.parentElement.querySelector("input").value;
  }

  choices() {
    return [...this.fieldset.querySelectorAll("[type=radio]")];
  }

  option(name) {
    return this.fieldset.querySelector(`[data-option=${name}]`);
  }
}
