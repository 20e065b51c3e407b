// The buttons that copy what is on the screen as code.

import { curl, python } from "./commands.js";
import { $, announce } from "./dom.js";
import { address, hasKey } from "./server.js";

const SHOWN = 1500;
/** Milliseconds for which a button says that it has copied. */

for (const [button, source] of [["copy-curl", "curl"], ["copy-python", "python"]])
  $(button).addEventListener("click", () => copy($(button), $(source).textContent));

/** Show the code of a request {path, query} for a picture {name, sample}. */
export function showCode(request, picture) {
  $("curl").textContent = curl(request, picture, address, hasKey());
  $("python").textContent = python(request, picture, address, hasKey());
}

async function copy(button, text) {
  const name = button.dataset.name ??= button.textContent;
  const copied = await written(text);
  announce(copied ? "Copied." : "Copying is not allowed here; the code is shown below.");
  if (!copied) button.parentElement.querySelector("details").open = true;
  button.textContent = copied ? "Copied" : name;
  setTimeout(() => { button.textContent = name; }, SHOWN);
}

/** Write to the clipboard. Over plain HTTP, browsers have no clipboard but that of a selection. */
async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}
