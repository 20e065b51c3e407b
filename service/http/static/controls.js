// All settings of the page, the queries that they make, and the link that restores them.

import { $ } from "./dom.js";
import {
  attentionParameters, attentionText, queryOf, readAttention, selectionParameters, sizeParameter,
} from "./options.js";
import { AttentionSetting } from "./setting.js";

const settings = Object.fromEntries(["detect", "left", "right", "explain"].map((name) =>
  [name, new AttentionSetting($(`${name}-setting`))]));
let card = null;
let masks = false;

/** Take defaults and ranges from the model card. */
export function adopt(newCard) {
  card = newCard;
  for (const setting of Object.values(settings)) setting.adopt(card);
  settings.left.set({ mode: "exact" });
  for (const name of ["right", "explain"]) settings[name].set({ mode: clustering() });
  $("attention-note").textContent = card.attention_note ?? "";
  $("attention-note").hidden = !card.attention_note;
  masks = card.masks.includes("polygons");
  $("threshold").value = card.default_threshold;
  $("overlap").value = card.default_nms ?? 1;
  showValues();
}

/** Show the values of sliders beside their names. */
export function showValues() {
  const { threshold, nms } = selection();
  $("threshold-shown").textContent = threshold.toFixed(2);
  $("overlap-shown").textContent = nms === 1 ? "any" : nms.toFixed(2);
  $("overlap").ariaValueText = $("overlap-shown").textContent;
}

/** The request for detections: {path, query}. */
export function detectRequest() {
  const setting = settings.detect.get();
  const selected = selectionParameters(selection(), card);
  return {
    path: "detect",
    query: queryOf({
      ...attentionParameters(setting, card), size: sizeParameter(setting, card), ...selected,
      masks: masks && !selected.tiles ? "polygons" : null,
    }),
  };
}

/** The request for a comparison of the left and the right setting: {path, query}. */
export function compareRequest() {
  const [left, right] = [settings.left.get(), settings.right.get()];
  return {
    path: "compare",
    query: queryOf({
      left: attentionText(left, card), right: attentionText(right, card),
      left_size: sizeParameter(left, card), right_size: sizeParameter(right, card),
      ...selectionParameters(selection(), card),
    }),
  };
}

/** The request for an explanation of a layer's head and, unless null, a point {x, y}: {path, query}. */
export function explainRequest(layer, head, point) {
  const setting = settings.explain.get();
  return {
    path: "explain",
    query: queryOf({
      ...attentionParameters(setting, card), size: sizeParameter(setting, card), layer, head, x: point?.x, y: point?.y,
    }),
  };
}

/** What of the settings differs from the defaults, for a link. */
export function differing() {
  const own = (name, mode) => {
    const { mode: chosen, ...options } = settings[name].get();
    const parameters = attentionParameters({ mode: chosen, ...options }, card);
    const usual = chosen === mode && Object.keys(parameters).every((parameter) => parameter === "attention");
    return {
      [name]: usual ? null : attentionText({ mode: chosen, ...options }, card),
      [`${name}_size`]: sizeParameter(options, card),
    };
  };
  return {
    ...own("detect", card.default_attention.mode), ...own("left", "exact"),
    ...own("right", clustering()), ...own("explain", clustering()), ...selectionParameters(selection(), card),
  };
}

/** Set what a link says; the rest stays. */
export function restore(link) {
  for (const [name, setting] of Object.entries(settings)) {
    if (link.has(name)) setting.set(readAttention(link.get(name)));
    if (link.has(`${name}_size`)) setting.set({ size: Number(link.get(`${name}_size`)) });
  }
  for (const [name, id] of [["tiles", "tiles"], ["threshold", "threshold"], ["nms", "overlap"]])
    if (link.has(name)) $(id).value = link.get(name);
  showValues();
}

function selection() {
  return {
    tiles: $("tiles").value.trim(), threshold: Number($("threshold").value), nms: Number($("overlap").value),
  };
}

/** The mode that comparisons and explanations begin with: the one whose clusters are few enough to look at. */
function clustering() {
  return ["tangent", "act"].find((mode) => card.attention_modes.includes(mode)) ?? "exact";
}
