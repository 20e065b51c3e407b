// Detections drawn over an image, as an SVG whose units are the image's pixels.

import { shape } from "./dom.js";

/** Height of a tag's text in pixels of the screen, on small pictures and on others. */
const TEXT = { small: 9, usual: 11 };
const SMALL = 500;

/**
 * Draw boxes into an SVG over an image of {width, height} pixels, the first one on top.
 *
 * Each is {index, box, colour, text, outlines, className}; `text` may be empty, `outlines` are polygons of a mask.
 */
export function drawBoxes(svg, { width, height }, boxes) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shown = svg.clientWidth || width;
  const unit = width / shown;
  const size = (shown < SMALL ? TEXT.small : TEXT.usual) * unit;
  svg.replaceChildren(...boxes.map((one) => drawn(one, unit, size)).reverse());
}

/** Dim all boxes of an SVG but one; null dims none. */
export function highlight(svg, index) {
  for (const group of svg.children) group.classList.toggle("dim", index !== null && group.dataset.index !== String(index));
}

function drawn({ index, box, colour, text, outlines = [], className = "" }, unit, size) {
  const group = shape("g", { "data-index": index, class: className });
  if (outlines.length) {
    const path = outlines.map((polygon) => `M${polygon.join(" ")}Z`).join("");
    group.append(shape("path", { d: path, fill: colour, "fill-opacity": 0.4, "fill-rule": "evenodd" }));
  }
  group.append(shape("rect", {
    class: "box", x: box.xmin, y: box.ymin, rx: 2 * unit,
    width: Math.max(0, box.xmax - box.xmin), height: Math.max(0, box.ymax - box.ymin), stroke: colour, fill: colour,
  }));
  if (text) group.append(...tag(box, colour, text, size));
  return group;
}

function tag(box, colour, text, size) {
  const y = box.ymin >= size * 1.45 ? box.ymin - size * 1.45 : box.ymin;
  const words = shape("text", { x: box.xmin + size * 0.35, y: y + size * 1.07, "font-size": size, fill: "#fff" });
  words.textContent = text;
  const width = size * (0.7 + text.length * 0.55);
  return [shape("rect", { x: box.xmin, y, width, height: size * 1.45, fill: colour, rx: size / 6 }), words];
}
