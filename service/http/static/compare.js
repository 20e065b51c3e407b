// The view of a comparison: two settings on one image, divided by a handle, and what differs.

import { drawBoxes, highlight } from "./boxes.js";
import { SIDES, colourOf } from "./colours.js";
import { MOVED_BELOW, sorted, verdict } from "./differences.js";
import { $, column, element } from "./dom.js";
import { attentionName } from "./options.js";
import { markingRow } from "./rows.js";
import { swipe } from "./swipe.js";

let shown = null;

swipe($("swipe"));
$("show-same").addEventListener("change", draw);

/** Show an answer; return its summary in a sentence. */
export function show(answer) {
  shown = answer;
  const [left, right] = names(answer);
  $("left-name").textContent = left;
  $("right-name").textContent = right;
  $("compare-result").hidden = false;
  $("verdict").textContent = verdict(answer, names(answer, " attention")[0], right);
  showSides(answer, left, right);
  showClusters(answer);
  showDifferences(answer);
  draw();
  return $("verdict").textContent;
}

/** Forget what is shown. */
export function clear() {
  shown = null;
  for (const id of ["left-boxes", "right-boxes", "left-name", "right-name", "verdict"]) $(id).replaceChildren();
  $("compare-result").hidden = true;
}

/** Draw the boxes, again after the image has changed its size on the screen. */
export function draw() {
  if (!shown) return;
  const { moved } = sorted(shown);
  for (const side of ["left", "right"]) {
    const only = new Set(shown[`only_${side}`]);
    const shifted = new Set(moved.map((pair) => pair[side]));
    const boxes = shown[side].detections.map(({ label, score, box }, index) => {
      const differs = only.has(index) ? `only ${side}` : shifted.has(index) ? "moved" : "";
      return {
        index, box, colour: colourOf(label), className: only.has(index) ? "only" : differs || "alike",
        text: differs && `${label} ${score.toFixed(2)}, ${differs}`,
      };
    });
    drawBoxes($(`${side}-boxes`), shown[side].image, boxes.filter(({ text }) => text || $("show-same").checked));
  }
}

/** What the sides are called; `after` follows the attention, and sizes are named where they differ. */
function names({ left, right }, after = "") {
  const differ = left.resized.width !== right.resized.width || left.resized.height !== right.resized.height;
  return [left, right].map(({ attention, resized }) =>
    attentionName(attention) + after + (differ ? ` at ${resized.width} x ${resized.height}` : ""));
}

function showSides({ left, right }, leftName, rightName) {
  const head = element("tr");
  head.append(element("td"), sideHead("left", leftName), sideHead("right", rightName));
  const row = (name, value) => {
    const made = element("tr");
    const title = element("th", name);
    title.scope = "row";
    made.append(title, element("td", value(left), "figure"), element("td", value(right), "figure"));
    return made;
  };
  $("sides").replaceChildren(
    head,
    row("Detections", ({ detections }) => String(detections.length)),
    row("Inference", ({ timing_ms: timing }) => `${timing.inference.toFixed(0)} ms`),
    row("GFLOPs", ({ attention }) => attention.encoder_gflops.toFixed(2)),
    row("Tokens", ({ attention }) => String(attention.tokens)),
    ...(left.attention.merged_tokens ?? right.attention.merged_tokens) === null
      ? [] : [row("Left after merging", ({ attention }) => String(attention.merged_tokens ?? "all"))],
  );
}

function sideHead(side, name) {
  const made = element("th", name, side);
  made.scope = "col";
  return made;
}

/** Mean clusters of each layer, the left setting's bar beside the right one's. */
function showClusters({ left, right }) {
  const layers = Math.max(left.attention.clusters.length, right.attention.clusters.length);
  const bars = element("div", undefined, "clusters");
  for (let layer = 0; layer < layers; layer++) {
    for (const [side, { attention }] of [["left", left], ["right", right]]) {
      const row = attention.clusters[layer];
      const bar = element("div", undefined, side);
      const all = attention.merged_tokens ?? attention.tokens;
      bar.title = `layer ${layer}, ${side}: ${row ? `${row.min} to ${row.max} clusters by head` : `no clusters, ${all} tokens`}`;
      const count = row?.mean ?? all;
      bar.append(column(count / attention.tokens, SIDES[side]), element("span", count === attention.tokens ? "all" : count.toFixed(0)));
      bars.append(bar);
    }
  }
  $("cluster-pairs").replaceChildren(...(layers ? [element("h2", "Clusters by layer"), bars] : []));
}

function showDifferences(answer) {
  const { moved, alike } = sorted(answer);
  const { left, right } = answer;
  const pair = (one) => [
    left.detections[one.left].label, `IoU ${one.iou.toFixed(2)}, score ${signed(one.score_difference)}`, one.left, one.right,
  ];
  const lone = (side) => answer[`only_${side}`].map((index) => {
    const { label, score } = answer[side].detections[index];
    return [label, `score ${score.toFixed(2)}`, side === "left" ? index : null, side === "right" ? index : null];
  });
  const differing = [
    ...group("Only left", lone("left")), ...group("Only right", lone("right")),
    ...group(`Moved: IoU below ${MOVED_BELOW}`, moved.map(pair)),
  ];
  const same = element("details");
  same.append(element("summary", `Found alike by both (${alike.length})`), rows(alike.map(pair)));
  $("differences").replaceChildren(
    ...(differing.length ? differing : [element("h2", "Nothing differs")]), ...(alike.length ? [same] : []));
}

/** A title and its list; nothing where the list is empty. */
function group(title, all) {
  return all.length ? [element("h2", `${title} (${all.length})`), rows(all)] : [];
}

function rows(all) {
  const list = element("ol", undefined, "rows");
  list.append(...all.map(difference));
  return list;
}

function difference([label, numbers, left, right]) {
  return markingRow(label, numbers, (on) => {
    highlight($("left-boxes"), on ? left ?? -1 : null);
    highlight($("right-boxes"), on ? right ?? -1 : null);
  });
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}
