// What a comparison says, in words and numbers.

/** A pair of boxes has moved if their IoU is below this. */
export const MOVED_BELOW = 0.9;
/** Shares of cost and time that differ by less than this are the same. */
const SAME_WITHIN = 0.03;

/** The pairs that moved and those that did not: {moved, alike}. */
export function sorted({ pairs }) {
  return {
    moved: pairs.filter(({ iou }) => iou < MOVED_BELOW), alike: pairs.filter(({ iou }) => iou >= MOVED_BELOW),
  };
}

/** What the right setting saved and changed beside the left one, in one plain sentence; `left` and `right` are names. */
export function verdict(answer, left, right) {
  const [l, r] = [answer.left, answer.right];
  const cost = change(l.attention.encoder_gflops, r.attention.encoder_gflops, "multiply-adds in the encoder");
  const time = change(l.timing_ms.inference, r.timing_ms.inference, "inference time");
  return `Beside ${left}, ${right} ${spent(cost, time)}, and ${found(answer)}.`;
}

/** {verb, what}: "saved" and "18 % of the …", or "took" and "12 % more …"; null where the values are the same. */
function change(left, right, what) {
  if (!left || Math.abs(right / left - 1) < SAME_WITHIN) return null;
  const percent = Math.round(100 * Math.abs(right / left - 1));
  return right < left ? { verb: "saved", what: `${percent} % of the ${what}` } : { verb: "took", what: `${percent} % more ${what}` };
}

function spent(cost, time) {
  if (!cost && !time) return "took as long and as many multiply-adds";
  if (!cost) return `took as many multiply-adds, ${time.verb} ${time.what}`;
  if (!time) return `${cost.verb} ${cost.what}, took as long`;
  const joined = cost.verb === time.verb ? "and" : `but ${time.verb}`;
  return `${cost.verb} ${cost.what} ${joined} ${time.what}`;
}

function found({ pairs, only_left: missed, only_right: extra }) {
  const total = pairs.length + missed.length;
  const objects = (count) => `${count} ${count === 1 ? "object" : "objects"}`;
  if (!total) return extra.length ? `found ${objects(extra.length)} where it found none` : "both found nothing";
  const { moved } = sorted({ pairs });
  const parts = [missed.length ? `found ${pairs.length} of its ${objects(total)}` : `found the same ${objects(total)}`];
  if (moved.length) parts.push(`${moved.length} of them moved`);
  if (extra.length) parts.push(`and ${extra.length} that it had not`);
  return parts.join(", ");
}
