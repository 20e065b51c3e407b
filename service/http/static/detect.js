// The view of one detection: boxes, their list, times by stage, clusters by layer.

import { drawBoxes, highlight } from "./boxes.js";
import { STAGES, colourOf } from "./colours.js";
import { $, column, element, shape, swatch } from "./dom.js";
import { attentionName } from "./options.js";
import { markingRow } from "./rows.js";

let shown = null;

/** Show an answer; return its summary in a sentence. */
export function show(answer) {
  shown = answer;
  draw();
  $("detect-result").hidden = false;
  listDetections(answer);
  showTime(answer);
  showEncoder(answer);
  const count = answer.detections.length;
  return `${count} ${count === 1 ? "detection" : "detections"} in ${answer.timing_ms.total.toFixed(0)} milliseconds.`;
}

/** Forget what is shown. */
export function clear() {
  shown = null;
  $("boxes").replaceChildren();
  $("detect-result").hidden = true;
}

/** Draw the boxes, again after the image has changed its size on the screen. */
export function draw() {
  if (!shown) return;
  drawBoxes($("boxes"), shown.image, shown.detections.map(({ label, score, box, segmentation }, index) => (
    { index, box, colour: colourOf(label), text: `${label} ${score.toFixed(2)}`, outlines: segmentation })));
}

function listDetections({ detections }) {
  $("count").textContent = String(detections.length);
  $("list").replaceChildren(...detections.map(({ label, score }, index) =>
    markingRow(label, score.toFixed(3), (on) => highlight($("boxes"), on ? index : null))));
}

function showTime({ timing_ms: timing, batch_size: batch }) {
  $("total").textContent = `${timing.total.toFixed(1)} ms, batch of ${batch}`;
  const sum = Object.keys(STAGES).reduce((total, name) => total + timing[name], 0) || 1;
  const bar = shape("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let x = 0;
  for (const [name, colour] of Object.entries(STAGES)) {
    const width = 100 * timing[name] / sum;
    bar.append(shape("rect", { x, y: 0, width, height: 10, fill: colour }));
    x += width;
  }
  $("stages").replaceChildren(bar);
  $("legend").replaceChildren(...Object.entries(STAGES).map(([name, colour]) => {
    const row = element("div");
    const term = element("dt", name);
    term.prepend(swatch(colour));
    row.append(term, element("dd", `${timing[name].toFixed(1)} ms`));
    return row;
  }));
}

function showEncoder({ attention, resized, tiles }) {
  const cut = tiles.rows * tiles.columns > 1 ? ` in each of ${tiles.rows} x ${tiles.columns} tiles` : "";
  const share = attention.exact_encoder_gflops ? 100 * attention.encoder_gflops / attention.exact_encoder_gflops : 100;
  const name = attentionName(attention);
  const left = attention.merged_tokens === null ? "" : `, ${attention.merged_tokens} left after merging`;
  $("encoder").textContent = `${name[0].toUpperCase()}${name.slice(1)} attention over ${attention.tokens} tokens of `
    + `${resized.width} x ${resized.height} pixels${cut}${left}: ${attention.encoder_gflops.toFixed(2)} GFLOPs, `
    + `${share.toFixed(0)} % of exact${attention.clusters.length ? ". Clusters by layer:" : "."}`;
  $("encoder").title = attention.reason;
  $("clusters").hidden = !attention.clusters.length;
  $("clusters").replaceChildren(...attention.clusters.map(({ layer, mean, min, max }) => {
    const bar = element("div");
    bar.title = `layer ${layer}: ${min} to ${max} clusters by head`;
    bar.append(column(mean / Math.max(1, attention.merged_tokens ?? attention.tokens), STAGES.inference), element("span", mean.toFixed(0)));
    return bar;
  }));
}
