/** Events on their way: sent at once, kept in memory and sent again when the server could not take them. */
const LONGEST = 99; // events kept; the oldest go first
const ATTEMPTS = 12; // the last one is made about half an hour after the first
const KEEPALIVE = 6e4; // browsers allow 64 KiB of bodies that outlive their page

/**
 * @param {string} api the collecting endpoint
 * @param {(problem: string) => void} say tells the page's author why nothing is counted
 */
export function openOutbox(api, say) {
  let waiting = [];
  let timer = 0; // of the next send: 0 is none

  /**
   * Take `event` as it is now, along with whatever else this task records: one request, so that their order stays.
   * Throws when JSON cannot say it; the events beside it are not harmed.
   */
  function add(event) {
    waiting.push(JSON.parse(JSON.stringify({ ...event, attempt: 0 })));
    waiting = waiting.slice(-LONGEST);
    timer = timer || setTimeout(send);
  }

  function takeBatch() {
    const batch = waiting.splice(0, 20);
    for (const event of batch) {
      event.attempt++;
      event.sent_at = Date.now();
    }
    return batch;
  }

  function send() {
    clearTimeout(timer);
    timer = 0;
    while (waiting.length && !timer) post(takeBatch());
  }

  async function post(batch) {
    const body = JSON.stringify(batch);
    try {
      // A string travels as text/plain, which needs no preflight.
      const keepalive = body.length < KEEPALIVE;
      const answer = await fetch(api, { method: "POST", body, keepalive, credentials: "omit" });
      if (answer.status == 429 || answer.status > 499) retry(batch);
      else if (!answer.ok) say(await answer.text());
    } catch {
      retry(batch); // no network, or something in between said no
    }
  }

  function retry(batch) {
    waiting = [...batch.filter((event) => event.attempt < ATTEMPTS), ...waiting].slice(-LONGEST);
    // Doubling, with chance in it: not every visitor comes back in the same second.
    if (waiting.length) timer = timer || setTimeout(send, 2 ** Math.min(batch[0].attempt, 9) * (500 + Math.random() * 500));
  }

  /** The page is going: hand all that waits over to the browser, which tells nobody what became of it. */
  function flush() {
    clearTimeout(timer);
    timer = 0;
    while (waiting.length) {
      const batch = takeBatch();
      if (!(navigator.sendBeacon && navigator.sendBeacon(api, JSON.stringify(batch)))) post(batch);
    }
  }

  return { add, send, flush };
}
