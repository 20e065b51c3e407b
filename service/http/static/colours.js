// The colours of classes, stages and sides. White text is legible on all of PALETTE (contrast of 4.5 or more).

const PALETTE = ["#c92a37", "#1d63c8", "#1f7a40", "#9c5700", "#7d3c98", "#00727c", "#b8256f", "#78563c", "#4a7000", "#46506e"];

export const STAGES = { decode: "#0096a0", preprocess: "#5b8c00", queue: "#d98a00", inference: "#1d6fdb", postprocess: "#8e44ad" };
export const SIDES = { left: "var(--left)", right: "var(--right)" };

const known = [];

/** Set the classes of the model, which are given colours in their order. */
export function setLabels(labels) {
  known.splice(0, known.length, ...labels);
}

/** The colour of a class. */
export function colourOf(label) {
  return PALETTE[Math.max(0, known.indexOf(label)) % PALETTE.length];
}
