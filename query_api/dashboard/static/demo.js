// The demo's site (two views without a load, an event) and the numbers beside it.
const byId = (id) => document.getElementById(id);

/** Show the view of the address; the tracker sees the history move by itself. */
function showView() {
  for (const view of document.querySelectorAll("[data-shown]")) view.hidden = view.dataset.shown != location.pathname;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view == location.pathname) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

for (const link of document.querySelectorAll("[data-view]"))
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState({}, "", link.href);
    showView();
    askSoon();
  });
addEventListener("popstate", showView);
showView();

byId("order").addEventListener("click", () => {
  window.pulse?.("Order", { props: { size: "L" } });
  askSoon();
});

function showNumbers(numbers) {
  byId("absent").hidden = numbers.site !== null;
  byId("numbers").hidden = numbers.site === null;
  if (numbers.site === null) return;
  const current = numbers.realtime.reduce((sum, row) => sum + row.current_visitors, 0);
  const figures = { ...numbers.stats[0], current };
  for (const figure of document.querySelectorAll("[data-number]")) showNumber(figure, figures[figure.dataset.number]);
  byId("pages").replaceChildren(...numbers.pages.map((row) => toRow(row.pathname, row.visitors, row.pageviews)));
  byId("events").replaceChildren(...numbers.events.map((row) => toRow(row.event_name, row.unique_visitors, row.total)));
  if (!numbers.events.length) byId("events").append(toRow("None yet: press the button", "", ""));
  byId("counted").textContent = numbers.completeness.lag > 1 ? "Counting …" : "Everything sent is counted";
}

/** A number that changed is marked for a moment. */
function showNumber(figure, number) {
  const text = number.toLocaleString("en");
  if (figure.textContent == text) return;
  figure.parentElement.classList.toggle("new", figure.textContent != "–");
  setTimeout(() => figure.parentElement.classList.remove("new"), 600);
  figure.textContent = text;
}

function toRow(name, ...figures) {
  const row = document.createElement("tr");
  row.append(toCell(name, ""), ...figures.map((figure) => toCell(figure.toLocaleString("en"), "number")));
  return row;
}

function toCell(text, kind) {
  const cell = document.createElement("td");
  cell.textContent = text;
  cell.className = kind;
  return cell;
}

async function ask() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/demo/numbers");
    if (!answer.ok) throw new Error(answer.statusText);
    showNumbers(await answer.json());
  } catch {
    byId("counted").textContent = "The server does not answer";
  }
}

/** After a click the new numbers are there within a moment; do not make a person wait for the next round. */
function askSoon() {
  for (const wait of [150, 400, 900]) setTimeout(ask, wait);
}

function isIgnored() {
  try {
    return localStorage.pulse_ignore == "true";
  } catch {
    return false;
  }
}

if (isIgnored()) {
  byId("silent").hidden = false;
  byId("silent").textContent = "This browser asked not to be counted (localStorage.pulse_ignore).";
}
document.addEventListener("visibilitychange", ask);
setInterval(ask, 2000);
ask();
askSoon();
