// The view of an explanation: clusters of a layer's head over the image, and a point's attention, exact and approximate.

import { $, element } from "./dom.js";
import { inCommon, likeness } from "./likeness.js";
import { clearMap, drawAttention, drawClusters, drawPoint } from "./maps.js";
import { attentionName } from "./options.js";
import { forget, visit } from "./visited.js";

const canvases = Object.fromEntries([...document.querySelectorAll("[data-map]")].map((figure) =>
  [figure.dataset.map, figure.querySelector("canvas")]));
const CLEARLY = 2;
/** Neighbours are clearly more alike than others if they share a cluster this many times as often. */
let chosen = { layer: 0, head: 0, point: null };
let shown = null;
let pending = null;
let ask = () => {};

/** What is looked at: layer, head and point {x, y} in pixels of the image, null before there is one. */
export function looking() {
  return chosen;
}

/** Look at a layer and head; `changed` is called whenever the user chooses another one or another point. */
export function start(layer, head, changed) {
  chosen = { ...chosen, layer, head };
  ask = changed;
}

/** Begin a new image of {width, height} pixels a third into it, where there is more likely something than elsewhere. */
export function begin({ width, height }) {
  chosen.point = { x: Math.floor(width / 3), y: Math.floor(height / 3) };
}

/** Show an answer; return its summary in a sentence. */
export function show(answer) {
  if (!shown || !sameMaps(shown, answer)) forget();
  shown = answer;
  pending = null;
  chosen = { layer: answer.layer, head: answer.head, point: answer.point && { x: answer.point.x, y: answer.point.y } };
  offer("layers", answer.layers, answer.layer, (layer) => look({ layer }));
  offer("heads", answer.heads, answer.head, (head) => look({ head }));
  $("explain-result").hidden = false;
  showMapChoices();
  showLikeness(answer);
  const summary = showPoint(answer);
  showEncoder(answer);
  draw();
  return summary;
}

/** Forget what is shown, and the point, which is of the last image. */
export function clear() {
  shown = pending = null;
  chosen.point = null;
  forget();
  for (const canvas of Object.values(canvases)) clearMap(canvas);
  $("explain-result").hidden = true;
  for (const id of ["likeness", "point"]) $(id).textContent = "";
}

/** Draw the maps, again after the image has changed its size on the screen. */
export function draw() {
  if (!shown) return;
  const { grid, clusters, point, attention_map: map } = shown;
  const most = map ? Math.max(1e-9, ...map.exact, ...(map.approximate ?? [])) : 1;
  for (const name of ["exact", "approximate"]) {
    if (map?.[name]) drawAttention(canvases[name], grid, map[name], most);
    else clearMap(canvases[name]);
  }
  if (clusters) drawClusters(canvases.clusters, grid, clusters.assignment, point ? point.cluster : null);
  else clearMap(canvases.clusters);
  const marked = pending ?? point;
  if (marked) for (const canvas of Object.values(canvases)) if (canvas.width) drawPoint(canvas, grid, marked);
  $("scale").hidden = !map;
  $("scale-most").textContent = `${(100 * most).toFixed(1)} % of all attention`;
}

function look(change) {
  chosen = { ...chosen, ...change };
  ask();
}

function sameMaps(one, other) {
  const part = ({ layer, head, attention, grid }) => JSON.stringify([layer, head, attention, grid]);
  return part(one) === part(other);
}

/** Offer the numbers 0 to count - 1 as radio buttons. */
function offer(id, count, value, choose) {
  const buttons = $(id).querySelectorAll("input");
  if (buttons.length !== count) {
    $(id).replaceChildren(...Array.from({ length: count }, (_, index) => {
      const label = element("label");
      const button = element("input");
      Object.assign(button, { type: "radio", name: id, value: index });
      button.addEventListener("change", (event) => { event.stopPropagation(); choose(index); });
      label.append(button, element("span", String(index)));
      return label;
    }));
  }
  $(id).querySelectorAll("input")[value].checked = true;
}

/** Hide maps that this attention does not have. */
function showMapChoices() {
  const has = { clusters: Boolean(shown.clusters), exact: true, approximate: Boolean(shown.clusters) };
  for (const choice of $("shown-map").querySelectorAll("input")) {
    choice.disabled = !has[choice.value];
    document.querySelector(`figure[data-map=${choice.value}]`).hidden = !has[choice.value];
  }
  if (!has[$("maps").dataset.shown]) chooseMap("exact");
}

function chooseMap(name) {
  $("shown-map").querySelector(`[value=${name}]`).checked = true;
  $("maps").dataset.shown = name;
  draw();
}

/** Show how much more alike neighbours are than others; return it in a sentence. */
function showLikeness({ attention, clusters, grid, layer, head }) {
  const { neighbours, any } = clusters ? likeness(grid, clusters.assignment) : {};
  const [both, lesson] = neighbours > CLEARLY * any
    ? ["but only", ": what is near is alike, what is far is not"] : ["and", ""];
  if (attention.merged_tokens !== null) {
    $("likeness").textContent = `In all layers and heads, ${percent(neighbours)} of neighbours are one token.`;
    return;
  }
  $("likeness").textContent = clusters
    ? `In layer ${layer}, head ${head}, ${percent(neighbours)} of neighbours share a cluster, `
      + `${both} ${percent(any)} of any two positions${lesson}.`
    : "";
}

function showPoint({ attention, point, clusters, attention_map: map }) {
  let text = "Click a place in the image.";
  if (point) {
    const members = clusters?.assignment.filter((cluster) => cluster === point.cluster).length;
    const where = `Row ${point.row}, column ${point.column}`;
    const group = attention.merged_tokens === null
      ? `, in a cluster of ${members} of ${clusters?.assignment.length} positions`
      : members === 1 ? ", merged with no other" : `, one of ${members} positions that became one token`;
    const cluster = clusters ? group : "";
    const alike = map?.approximate ? ` Its exact and approximate attention have ${percent(inCommon(map.exact, map.approximate))} in common.` : "";
    text = `${where}${cluster}.${alike}`;
    visit({ ...point, map: map.exact }, ({ x, y }) => look({ point: { x, y } }));
  }
  $("point").textContent = text;
  return text;
}

function showEncoder({ attention, clusters, grid, timing_ms: timing }) {
  const merged = attention.merged_tokens !== null;
  const count = clusters ? (merged ? `, merged into ${clusters.count} tokens` : ` in ${clusters.count} clusters`) : "";
  const name = attentionName(attention);
  $("explained").textContent = `${name[0].toUpperCase()}${name.slice(1)} attention over ${grid.columns} x ${grid.rows} positions${count}, `
    + `answered in ${timing.total.toFixed(0)} ms.`;
  $("explained").title = attention.reason;
}

function percent(share) {
  const percents = 100 * share;
  return `${percents.toFixed(percents > 99 || percents < 2 ? 1 : 0)} %`;
}

/** Look at the position of a row and a column, as far as there is one; its mark does not wait for the answer. */
function lookAt(row, column) {
  const { grid, image } = shown;
  const inside = (value, count) => Math.min(count - 1, Math.max(0, value));
  pending = { row: inside(row, grid.rows), column: inside(column, grid.columns) };
  draw();
  look({ point: {
    x: Math.floor((pending.column + 0.5) * image.width / grid.columns),
    y: Math.floor((pending.row + 0.5) * image.height / grid.rows),
  } });
}

$("maps").addEventListener("click", (event) => {
  const view = event.target.closest(".view");
  if (!view || !shown) return;
  const { left, top, width, height } = view.getBoundingClientRect();
  const { grid } = shown;
  lookAt(Math.floor(grid.rows * (event.clientY - top) / height), Math.floor(grid.columns * (event.clientX - left) / width));
});
$("maps").addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 5 : 1;
  const [down, right] = {
    ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step],
  }[event.key] ?? [0, 0];
  if (!shown || !(down || right)) return;
  event.preventDefault();
  const { row, column } = pending ?? shown.point ?? { row: 0, column: 0 };
  lookAt(row + down, column + right);
});
$("shown-map").addEventListener("change", (event) => {
  event.stopPropagation();
  chooseMap(event.target.value);
});
