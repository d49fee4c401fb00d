/** How long and how far a view is read: time while the page is visible, in focus and not left alone. */
const IDLE = 6e4; // a pause without a move counts up to here
const SHORTEST = 100;
const LONGEST = 18e5; // of one record (API.md)
const EVERY = 6e5; // a long read is told of meanwhile, so that its session stays open

/** @param {(fields: {engaged_ms: number, scroll_depth: number}) => void} record takes what came since the last one */
export function watchEngagement(record) {
  let running = false;
  let since = 0;
  let engaged = 0;
  let depth = 0;

  function measure() {
    const now = performance.now();
    if (running) engaged += Math.min(now - since, IDLE);
    since = now;
    running = document.visibilityState == "visible" && document.hasFocus();
  }

  function look() {
    const root = document.documentElement;
    const height = Math.max(root.scrollHeight, document.body ? document.body.scrollHeight : 0, 1);
    depth = Math.max(depth, Math.min(100, Math.round(((scrollY + innerHeight) / height) * 100)));
  }

  /** Record what came since the last record, if the view was looked at for long enough to be worth one. */
  function tell() {
    measure();
    look();
    const engaged_ms = Math.min(Math.round(engaged), LONGEST);
    if (engaged_ms < SHORTEST) return;
    engaged -= engaged_ms;
    record({ engaged_ms, scroll_depth: depth });
  }

  /** A new view begins. */
  function restart() {
    measure();
    engaged = depth = 0;
  }

  function move() {
    measure();
    if (engaged >= EVERY) tell();
  }

  for (const name of ["focus", "blur", "visibilitychange", "keydown", "pointerdown", "pointermove", "wheel", "scroll"])
    addEventListener(name, move, { capture: true, passive: true });
  addEventListener("scroll", look, { passive: true });
  return { tell, restart };
}
