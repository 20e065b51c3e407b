// Making and finding elements.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export const $ = (id) => document.getElementById(id);

/** A new element with text (undefined: none) and a class. */
export function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A new SVG element with attributes. */
export function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** A small square of a colour, to stand before a word. */
export function swatch(colour) {
  const svg = shape("svg", { class: "swatch", viewBox: "0 0 1 1", "aria-hidden": "true" });
  svg.append(shape("rect", { width: 1, height: 1, fill: colour }));
  return svg;
}

/** A bar that is filled from the bottom by a share, 0 to 1, of its height. */
export function column(share, colour) {
  const svg = shape("svg", { viewBox: "0 0 10 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const height = Math.max(1, 100 * share);
  svg.append(shape("rect", { width: 10, height: 100, fill: "currentColor", opacity: 0.12 }));
  svg.append(shape("rect", { y: 100 - height, width: 10, height, fill: colour }));
  return svg;
}

/** Tell screen readers what came of an action, without moving the focus. */
export function announce(text) {
  $("status").textContent = text;
}
