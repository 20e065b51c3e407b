// Lists of detections, whose rows mark boxes on the image while the pointer or the focus is on them.

import { colourOf } from "./colours.js";
import { element, swatch } from "./dom.js";

/** A row of a list: a class, its numbers, and `mark(on)`, which is called with true and false. */
export function markingRow(label, numbers, mark) {
  const row = element("li");
  const button = element("button", undefined, "row");
  button.type = "button";
  button.append(swatch(colourOf(label)), element("span", label), element("span", numbers, "figure"));
  for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]])
    button.addEventListener(event, () => mark(on));
  row.append(button);
  return row;
}
