// A handle that divides a picture into a left and a right part: by pointer, touch and keyboard.

const STEP = 2;
const LARGE_STEP = 10;

/** Make a handle move over the view that contains it. Its place is the CSS variable --at of the view. */
export function swipe(handle) {
  const view = handle.parentElement;
  const move = (percent) => {
    const at = Math.min(100, Math.max(0, percent));
    view.style.setProperty("--at", `${at}%`);
    handle.setAttribute("aria-valuenow", String(Math.round(at)));
    handle.setAttribute("aria-valuetext", `left ${Math.round(at)} %, right ${Math.round(100 - at)} %`);
  };
  const follow = (event) => {
    const { left, width } = view.getBoundingClientRect();
    move(100 * (event.clientX - left) / width);
  };
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    view.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    event.preventDefault();
    follow(event);
  });
  view.addEventListener("pointermove", (event) => { if (view.hasPointerCapture(event.pointerId)) follow(event); });
  handle.addEventListener("keydown", (event) => {
    const at = Number(handle.getAttribute("aria-valuenow"));
    const next = {
      ArrowLeft: at - STEP, ArrowDown: at - STEP, ArrowRight: at + STEP, ArrowUp: at + STEP,
      PageDown: at - LARGE_STEP, PageUp: at + LARGE_STEP, Home: 0, End: 100,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    move(next);
  });
  move(50);
}
