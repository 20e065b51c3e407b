// The points looked at so far, and how alike their attention is to that of the present one.

import { $, element } from "./dom.js";
import { inCommon } from "./likeness.js";

const KEPT = 6;

let points = [];

/** Forget all points: another image, layer, head or setting makes other maps. */
export function forget() {
  points = [];
  $("visited").replaceChildren();
}

/** List the earlier points beside this one {x, y, row, column, cluster, map}, and keep it. `back` goes to one of them. */
export function visit(point, back) {
  const others = points.filter((one) => one.row !== point.row || one.column !== point.column);
  $("visited").replaceChildren();
  if (others.length) {
    const list = element("ol", undefined, "rows");
    list.append(...others.map((other) => compared(point, other, back)));
    $("visited").append(element("h2", "Beside earlier points"), list);
  }
  points = [point, ...others].slice(0, KEPT);
}

function compared(point, other, back) {
  const away = Math.round(Math.hypot(point.row - other.row, point.column - other.column));
  const alike = inCommon(point.map, other.map);
  const row = element("li");
  const button = element("button", undefined, "row visited");
  button.type = "button";
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: 1, value: alike });
  meter.ariaHidden = "true";
  const cluster = point.cluster === null ? "" : point.cluster === other.cluster ? ", same cluster" : ", another cluster";
  button.append(
    element("span", `${away} ${away === 1 ? "position" : "positions"} away${cluster}`), meter,
    element("span", `${Math.round(100 * alike)} % alike`, "figure"));
  button.title = "Go back to this point";
  button.addEventListener("click", () => back(other));
  row.append(button);
  return row;
}
