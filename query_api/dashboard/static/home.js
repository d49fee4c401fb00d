// Shows how the server is, and fills the address of this server into the first steps.
const byId = (id) => document.getElementById(id);

function showState(state) {
  const well = state.status == "ok";
  const title = well ? "Everything runs well" : "Something does not answer";
  byId("state").className = `card ${well ? "well" : "ill"}`;
  // Only when it changes: a screen reader says it each time.
  if (byId("state-title").textContent != title) byId("state-title").textContent = title;
  byId("version").textContent = state.version;
  byId("parts").replaceChildren(...Object.entries(state.parts).map(toPart));
  byId("counted").textContent = state.completeness ? toSentence(state.completeness) : "";
  showFlow(state.flow);
  byId("proxy").hidden = !state.untrusted_forwarder;
  byId("proxy-address").textContent = byId("proxy-setting").textContent = state.untrusted_forwarder || "";
}

function toPart([name, health]) {
  const item = document.createElement("li");
  item.textContent = `${name[0].toUpperCase()}${name.slice(1).replaceAll("_", " ")}: ${health}`;
  item.className = health == "failing" ? "failing" : "";
  return item;
}

function toSentence({ lag, exact }) {
  if (lag > 1) return `Counting is ${lag.toFixed(lag < 10 ? 1 : 0)} s behind`;
  return exact ? "Every acknowledged event is counted" : "Every acknowledged event is counted; resends are being compared";
}

function showFlow(flow) {
  byId("flow").hidden = !flow;
  if (!flow) return;
  const figures = { ...flow, counted: flow.stored };
  for (const figure of document.querySelectorAll("[data-flow]")) showNumber(figure, figures[figure.dataset.flow]);
}

/** A number that changed is marked for a moment. */
function showNumber(figure, number) {
  const text = number.toLocaleString("en");
  if (figure.textContent == text) return;
  figure.parentElement.classList.toggle("new", figure.textContent != "–");
  setTimeout(() => figure.parentElement.classList.remove("new"), 600);
  figure.textContent = text;
}

function showSilence(title) {
  byId("state").className = "card ill";
  byId("state-title").textContent = title;
  byId("parts").replaceChildren();
  byId("counted").textContent = "";
}

async function ask() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/state");
    if (answer.ok) showState(await answer.json());
    else showSilence("The server is not ready");
  } catch {
    showSilence("The server does not answer");
  }
}

function addCopyButton(box) {
  const button = document.createElement("button");
  button.className = "tiny";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  box.append(button);
}

for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
// The clipboard is there only on pages with TLS and on this machine.
if (navigator.clipboard) document.querySelectorAll(".copy").forEach(addCopyButton);
document.addEventListener("visibilitychange", ask);
setInterval(ask, 3000);
ask();
