// Settings to queries. A setting is {mode, L, r, C, ratio, mergedC, size}: `C` is that of tangent attention, `mergedC`
// that of merging, 0 where what is left attends exactly; `size` is null where the model takes only one.

/** A query string of parameters, in their order; those that are null are left out. */
export function queryOf(parameters) {
  return Object.entries(parameters)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(3A|2C|3D)/g, decodeURIComponent)}`)
    .join("&");
}

/** The parameters of an attention that differ from the server's defaults. */
export function attentionParameters({ mode, L, r, C, ratio, mergedC }, { default_attention: usual }) {
  const differing = {};
  if (mode === "act") {
    if (L !== usual.L) differing.L = L;
    if (r !== usual.r) {
      differing.r = r;
      // With r, the metric is that of the paper unless it is given.
      if (usual.metric !== "query") differing.metric = usual.metric;
    }
  }
  if (mode === "tangent" && C !== usual.C) differing.C = C;
  if (mode === "merge" && ratio !== usual.ratio) differing.ratio = ratio;
  if (mode === "merge" && mergedC) differing.C = mergedC;
  const needed = mode !== usual.mode || Object.keys(differing).length > 0;
  return needed ? { attention: mode, ...differing } : {};
}

/** A setting's size, null where it is the model's own. */
export function sizeParameter({ size }, { input_size: input }) {
  return size === input.shortest_side ? null : size;
}

/** The parameters of what is kept of an image's detections, and of tiles, that differ from the server's defaults. */
export function selectionParameters({ tiles, threshold, nms }, card) {
  return {
    tiles: tiles || null,
    threshold: threshold === card.default_threshold ? null : threshold,
    nms: nms === (card.default_nms ?? 1) ? null : nms,
  };
}

/** An attention in one word, as `left` and `right` take it: `tangent:C=16`. */
export function attentionText({ mode, L, r, C, ratio, mergedC }, { default_attention: usual }) {
  if (mode === "act") return `act:L=${L},r=${r},metric=${usual.metric}`;
  return { tangent: `tangent:C=${C}`, merge: `merge:ratio=${ratio}${mergedC ? `,C=${mergedC}` : ""}` }[mode] ?? mode;
}

/** What such a word says, as far as it can be read: {mode, L, r, C, ratio, mergedC}. */
export function readAttention(text) {
  const [mode, options = ""] = text.split(":");
  const numbers = options.split(",").map((option) => option.split("=")).filter(([name]) => ["L", "r", "C", "ratio"].includes(name));
  const { C, ...others } = Object.fromEntries(numbers.map(([name, value]) => [name, Number(value)]));
  return { mode, ...others, ...(mode === "merge" ? { mergedC: C ?? 0 } : { C }) };
}

/** The attention of an answer, for people: `tangent (C = 16)`, whose parts do not part at the end of a line. */
export function attentionName({ mode, L, r, C, ratio }) {
  const options = {
    exact: "", act: ` (L = ${L}, r = ${r})`, tangent: ` (C = ${C})`, merge: ` (ratio = ${ratio}${C ? `, C = ${C}` : ""})`,
  }[mode];
  return (mode === "act" ? "ACT" : mode) + options.replace(/ = /g, "\u00a0=\u00a0");
}
