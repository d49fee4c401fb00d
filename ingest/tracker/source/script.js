/** The tracker: what happens on a page becomes events. It stores nothing on the device and never throws into the page. */
import { watchEngagement } from "./engagement.js";
import { newId } from "./id.js";
import { openOutbox } from "./outbox.js";

const script =
  document.currentScript || document.querySelector("script[data-site-key]") || document.createElement("script");
const site = script.dataset;
const early = window.pulse;

/** Tell the page's author, once, why nothing is counted. */
function say(problem) {
  if (!said) console.warn("Pulse does not count: " + problem);
  said = true;
}
let said = false;

/** Why this page is not counted; nothing if it is. */
function findObstacle() {
  if (!site.siteKey) return "the script tag has no data-site-key";
  if (isLocal() && site.local == null) return "this is a local page (data-local on the script tag counts it)";
  if (isIgnored()) return "localStorage.pulse_ignore asks for it";
}

function isLocal() {
  return !/^http/.test(location.protocol) || /^(.*\.)?localhost$|^127\.|^0\.0\.0\.0$|^\[::1?\]$/.test(location.hostname);
}

function isIgnored() {
  try {
    return localStorage.pulse_ignore == "true";
  } catch {
    return false; // a page that may not store anything
  }
}

/** The address of what is shown, as long as it may be; with data-hash the fragment is part of the path, else left out. */
function readUrl() {
  const path = site.hash == null ? location.pathname : (location.pathname + location.hash).replace(/\/*#!?\/*/, "/");
  return ((location.host ? location.origin : "file://") + path + location.search).slice(0, 2048);
}

function guard(work) {
  return function (...given) {
    try {
      return work.apply(this, given);
    } catch (problem) {
      console.warn("Pulse:", problem);
    }
  };
}

function start() {
  let user_id = site.userId;
  let view; // what engagement belongs to: {url, user_id}
  let seen; // the address shown last, counted or not
  const outbox = openOutbox(site.api || new URL("v1/events", script.src || location).href, say);
  const engagement = watchEngagement(guard((fields) => record("engagement", { ...view, ...fields })));

  function record(name, fields) {
    const obstacle = findObstacle();
    if (obstacle) return say(obstacle);
    outbox.add({
      site_key: site.siteKey,
      event_id: newId(),
      name,
      url: readUrl(),
      user_id,
      timestamp: Date.now(),
      language: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      screen_width: screen.width,
      ...fields,
    });
  }

  function countView(referrer) {
    if (view) engagement.tell();
    seen = readUrl();
    view = { url: seen, user_id };
    engagement.restart();
    record("pageview", { referrer, title: document.title });
  }

  /** The history moved: a new address is a view; what replaces an address must differ in its path. */
  function move(replaced) {
    const before = seen;
    const now = readUrl();
    seen = now;
    if (replaced ? now.split("?")[0] != before.split("?")[0] : now != before) countView(before);
  }

  // A page that is hidden may go without another word, but mostly it stays, and then it hears whether this arrived.
  const sendHidden = "keepalive" in Request.prototype ? outbox.send : outbox.flush;

  function leave(hand) {
    engagement.tell();
    hand();
  }

  const pulse = guard((name, options) => {
    if (name == "identify" && typeof options == "string") return pulse.identify(options);
    if (!name || typeof name != "string") throw new TypeError("an event needs a name");
    const { props, revenue, interactive } = options || {};
    record(name, { props, revenue, interactive });
  });
  pulse.identify = guard((id) => {
    engagement.tell(); // what was read until now was read by who was known until now
    user_id = id || undefined;
  });
  pulse.counts = true;
  window.pulse = pulse;

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...given) {
      original.apply(this, given);
      guard(move)(name == "replaceState");
    };
  }
  addEventListener("popstate", guard(() => move()));
  addEventListener("hashchange", guard(() => move()));
  document.addEventListener("visibilitychange", guard(() => document.hidden && leave(sendHidden)));
  addEventListener("pagehide", guard(() => leave(outbox.flush)));
  addEventListener("pageshow", guard((event) => event.persisted && countView(document.referrer)));

  guard(countView)(document.referrer);
  for (const given of (early && early.q) || []) pulse(...given);
}

guard(() => {
  if (early && early.counts) return; // loaded twice
  if (document.prerendering) document.addEventListener("prerenderingchange", guard(start), { once: true });
  else start();
})();
