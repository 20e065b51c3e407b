// The web page: one image, looked at in one of three views. A change asks the server once and aborts what is stale.

import * as compare from "./compare.js";
import * as controls from "./controls.js";
import { showCode } from "./copying.js";
import { setLabels } from "./colours.js";
import * as detect from "./detect.js";
import { $, announce } from "./dom.js";
import * as explain from "./explain.js";
import { offerImages, shapeViews, showPicture, takeSample } from "./images.js";
import { queryOf } from "./options.js";
import { Refusal, ask, modelCard, setKey } from "./server.js";
import { tabs } from "./tabs.js";

const PAUSE = 120;
/** Milliseconds without a change after which the server is asked. */

const views = {
  detect: { ...detect, request: controls.detectRequest },
  compare: { ...compare, request: controls.compareRequest },
  explain: { ...explain, request: () => {
    const { layer, head, point } = explain.looking();
    return controls.explainRequest(layer, head, point);
  } },
};
let view = "detect";
let picture = null;
let running = null;
let waiting = 0;
let ready = false;

const showTab = tabs($("views"), $("workspace"), (name) => {
  view = name;
  run();
});

function refuse(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) $("key-row").hidden = false;
  show(error instanceof Refusal ? error.message : "The server cannot be reached.");
}

function show(error) {
  $("error").hidden = !error;
  $("error").textContent = error;
}

/** Ask for what the settings say, after a pause in which they may change again. */
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(run, PAUSE);
}

/** Ask for what the settings say now, unless it is shown already. */
async function run({ again = false } = {}) {
  clearTimeout(waiting);
  running?.abort();
  running = null;
  $("pictures").classList.remove("busy");
  if (!ready) return;
  keepLink();
  if (!picture) return;
  const current = views[view];
  const request = current.request();
  showCode(request, picture);
  if (current.shown === request.query && !again) return current.draw();
  const mine = running = new AbortController();
  $("pictures").classList.add("busy");
  try {
    const answer = await ask(request, picture.blob, mine.signal);
    show("");
    shapeViews(answer.image ?? answer.left.image);
    announce(current.show(answer));
    current.shown = request.query;
  } catch (error) {
    refuse(error);
  } finally {
    if (running === mine) $("pictures").classList.remove("busy");
  }
}

async function take(image) {
  picture = image;
  running?.abort();
  for (const one of Object.values(views)) {
    one.clear();
    one.shown = null;
  }
  document.body.classList.add("has-picture");
  $("pictures").hidden = false;
  $("again").hidden = false;
  const size = await showPicture(image);
  if (picture !== image) return;
  if (size) explain.begin(size);
  await run();
}

/** Put what differs from the defaults into the address, so that a link or a reload restores it; not the image. */
function keepLink() {
  const { layer, head } = explain.looking();
  const link = queryOf({
    view: view === "detect" ? null : view, ...controls.differing(), layer: layer || null, head: head || null,
    sample: picture?.sample,
  });
  history.replaceState(null, "", location.pathname + location.search + (link ? `#${link}` : ""));
}

/** Set what the address says. */
async function followLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  controls.restore(link);
  explain.start(Number(link.get("layer")) || 0, Number(link.get("head")) || 0, soon);
  view = link.get("view") in views && !$("views").hidden ? link.get("view") : "detect";
  showTab(view);
  if (link.has("sample") && picture?.sample !== link.get("sample")) await takeSample(link.get("sample"), take);
}

async function open() {
  const card = await modelCard();
  show("");
  setLabels(card.labels);
  $("model").textContent = [
    card.name, `${(card.parameters / 1e6).toFixed(1)} M parameters`, card.device, card.precision,
  ].join(" · ");
  $("views").hidden = card.explain !== true;
  controls.adopt(card);
  await followLink();
  ready = true;
  run();
}

offerImages(take, refuse);
$("controls").addEventListener("input", controls.showValues);
$("controls").addEventListener("change", (event) => { if (event.target.id !== "key") soon(); });
$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  run({ again: true });
});
$("key").addEventListener("change", (event) => {
  setKey(event.target.value);
  open().catch(refuse);
});
window.addEventListener("hashchange", () => followLink().then(run, refuse));
new ResizeObserver(() => views[view].draw()).observe($("pictures"));
open().catch(refuse);
