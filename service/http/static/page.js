"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PALETTE = ["#e63946", "#1d6fdb", "#228b4a", "#f59e0b", "#8e44ad", "#0096a0", "#d63384", "#78563c", "#5b8c00", "#46506e"];
const STAGES = { decode: "#0096a0", preprocess: "#5b8c00", queue: "#f59e0b", inference: "#1d6fdb", postprocess: "#8e44ad" };

let labels = [];
let metric = "query";
let masks = false;
let picture = null;
let running = null;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function colorOf(label) {
  return PALETTE[Math.max(0, labels.indexOf(label)) % PALETTE.length];
}

function headers() {
  const key = $("key").value.trim();
  return key ? { "x-api-key": key } : {};
}

function show(error) {
  $("error").hidden = !error;
  $("error").textContent = error || "";
}

async function failure(response) {
  if (response.status === 401) $("key-row").hidden = false;
  const problem = await response.json().catch(() => ({}));
  return `${problem.title || response.statusText}${problem.detail ? ": " + problem.detail : ""} (${response.status})`;
}

async function loadModel() {
  const response = await fetch("model", { headers: headers() });
  if (!response.ok) return show(await failure(response));
  const card = await response.json();
  labels = card.labels;
  $("model").textContent = `${card.name} · ${(card.parameters / 1e6).toFixed(1)} M parameters · ${card.device} · ${card.precision}`;
  document.querySelector(`[name=attention][value=${card.default_attention.mode}]`).checked = true;
  for (const choice of document.querySelectorAll("[name=attention]"))
    choice.disabled = !card.attention_modes.includes(choice.value);
  $("attention-note").textContent = card.attention_note ?? "";
  $("attention-note").hidden = !card.attention_note;
  masks = card.masks.includes("polygons");
  $("rounds").value = card.default_attention.L;
  $("width").value = card.default_attention.r;
  metric = card.default_attention.metric;
  $("cluster-count").value = card.default_attention.C;
  const { shortest_side: own, min_size: least, max_size: largest } = card.input_size;
  Object.assign($("size"), { min: least, max: largest }).value = own;
  $("size-row").hidden = least === largest;
  $("threshold").value = card.default_threshold;
  $("overlap").value = card.default_nms ?? 1;
  showControls();
}

function attention() {
  return document.querySelector("[name=attention]:checked").value;
}

function showControls() {
  $("rounds-shown").textContent = $("rounds").value;
  $("size-shown").textContent = $("size").value;
  $("threshold-shown").textContent = Number($("threshold").value).toFixed(2);
  $("overlap-shown").textContent = $("overlap").value === "1" ? "any" : Number($("overlap").value).toFixed(2);
  $("clusters-shown").textContent = $("cluster-count").value;
  for (const mode of ["act", "tangent"])
    for (const row of document.querySelectorAll("." + mode)) row.hidden = attention() !== mode;
}

async function detect() {
  if (!picture) return;
  if (running) running.abort();
  const mine = running = new AbortController();
  const query = new URLSearchParams({ attention: attention(), threshold: $("threshold").value, nms: $("overlap").value });
  if (attention() === "act") {
    query.set("L", $("rounds").value);
    query.set("r", $("width").value);
    query.set("metric", metric);
  }
  if (attention() === "tangent") query.set("C", $("cluster-count").value);
  if (!$("size-row").hidden) query.set("size", $("size").value);
  if ($("tiles").value.trim()) query.set("tiles", $("tiles").value.trim());
  else if (masks) query.set("masks", "polygons");
  $("view").classList.add("busy");
  try {
    const response = await fetch("detect?" + query, {
      method: "POST", body: picture, signal: mine.signal,
      headers: { "content-type": "application/octet-stream", ...headers() },
    });
    if (!response.ok) return show(await failure(response));
    const answer = await response.json();
    show("");
    draw(answer);
    tell(answer);
  } catch (error) {
    if (error.name !== "AbortError") show("The server cannot be reached.");
  } finally {
    if (running === mine) $("view").classList.remove("busy");
  }
}

function draw({ detections, image }) {
  const svg = $("boxes");
  svg.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
  svg.replaceChildren();
  const size = Math.max(image.width, image.height) / 60;
  detections.forEach(({ label, score, box, segmentation = [] }, index) => {
    const color = colorOf(label);
    const group = shape("g", { "data-index": index });
    const outlines = segmentation.map((polygon) => `M${polygon.join(" ")}Z`).join("");
    group.append(shape("path", { d: outlines, fill: color, "fill-opacity": 0.4, "fill-rule": "evenodd" }));
    group.append(shape("rect", {
      class: "box", x: box.xmin, y: box.ymin, rx: size / 8,
      width: Math.max(0, box.xmax - box.xmin), height: Math.max(0, box.ymax - box.ymin), stroke: color, fill: color,
    }));
    const text = `${label} ${score.toFixed(2)}`;
    const y = box.ymin >= size * 1.4 ? box.ymin - size * 1.4 : box.ymin;
    const tag = shape("rect", { x: box.xmin, y, width: size * (0.6 + text.length * 0.56), height: size * 1.4, fill: color, rx: size / 6 });
    const words = shape("text", { x: box.xmin + size * 0.3, y: y + size * 1.03, "font-size": size, fill: "#fff", "font-family": "system-ui, sans-serif" });
    words.textContent = text;
    group.append(tag, words);
    svg.prepend(group);
  });
}

function highlight(index) {
  for (const group of $("boxes").children) group.classList.toggle("dim", index !== null && group.dataset.index !== String(index));
}

function swatch(color) {
  const svg = shape("svg", { class: "swatch", viewBox: "0 0 1 1" });
  svg.append(shape("rect", { width: 1, height: 1, fill: color }));
  return svg;
}

function tell(answer) {
  $("result").hidden = false;
  $("count").textContent = String(answer.detections.length);
  $("list").replaceChildren(...answer.detections.map(({ label, score }, index) => {
    const row = element("li");
    row.append(swatch(colorOf(label)), element("span", label), element("span", score.toFixed(3), "score"));
    row.addEventListener("mouseenter", () => highlight(index));
    row.addEventListener("mouseleave", () => highlight(null));
    return row;
  }));
  tellTime(answer);
  tellEncoder(answer);
}

function tellTime({ timing_ms: timing, batch_size: batch }) {
  $("total").textContent = `${timing.total.toFixed(1)} ms, batch of ${batch}`;
  const sum = Object.keys(STAGES).reduce((total, name) => total + timing[name], 0) || 1;
  const bar = shape("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", width: "100%", height: "100%" });
  let x = 0;
  for (const [name, color] of Object.entries(STAGES)) {
    const width = 100 * timing[name] / sum;
    bar.append(shape("rect", { x, y: 0, width, height: 10, fill: color }));
    x += width;
  }
  $("stages").replaceChildren(bar);
  $("legend").replaceChildren(...Object.entries(STAGES).flatMap(([name, color]) => [
    swatch(color), element("dt", name), element("dd", `${timing[name].toFixed(1)} ms`),
  ]));
}

function tellEncoder({ attention, resized, tiles }) {
  const cut = tiles.rows * tiles.columns > 1 ? ` in each of ${tiles.rows} x ${tiles.columns} tiles` : "";
  const share = attention.exact_encoder_gflops ? 100 * attention.encoder_gflops / attention.exact_encoder_gflops : 100;
  const how = {
    exact: "exact attention",
    act: `ACT, L = ${attention.L}, r = ${attention.r}`,
    tangent: `tangent attention, C = ${attention.C}`,
  }[attention.mode];
  $("encoder").textContent = `${how} over ${attention.tokens} tokens of ${resized.width} x ${resized.height} pixels${cut}: ${attention.encoder_gflops.toFixed(2)} GFLOPs, `
    + `${share.toFixed(0)} % of exact${attention.clusters.length ? ". Clusters by layer:" : "."}`;
  $("encoder").title = attention.reason;
  $("clusters").hidden = !attention.clusters.length;
  $("clusters").replaceChildren(...attention.clusters.map(({ layer, mean, min, max }) => {
    const column = element("div");
    const bar = shape("svg", { viewBox: "0 0 10 100", preserveAspectRatio: "none" });
    const height = Math.max(1, 100 * mean / Math.max(1, attention.tokens));
    bar.append(shape("rect", { x: 0, y: 0, width: 10, height: 100, fill: "currentColor", opacity: 0.12 }));
    bar.append(shape("rect", { x: 0, y: 100 - height, width: 10, height, fill: STAGES.inference }));
    column.title = `layer ${layer}: ${min} to ${max} clusters by head`;
    column.append(bar, element("span", mean.toFixed(0)));
    return column;
  }));
}

function take(file) {
  if (!file) return;
  picture = file;
  URL.revokeObjectURL($("image").src);
  $("image").src = URL.createObjectURL(file);
  $("boxes").replaceChildren();
  $("view").hidden = false;
  $("again").disabled = false;
  detect();
}

const drop = $("drop");
$("file").addEventListener("change", (event) => take(event.target.files[0]));
drop.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") $("file").click(); });
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
$("controls").addEventListener("input", showControls);
$("controls").addEventListener("change", (event) => { if (event.target.id !== "key") detect(); });
$("controls").addEventListener("submit", (event) => { event.preventDefault(); detect(); });
$("key").addEventListener("change", () => { show(""); loadModel(); });
showControls();
loadModel().catch(() => show("The server cannot be reached."));
