// The page: which run is shown, the stream of events, and the keys.
import { byId, el, speak } from "./dom.js";
import { RunPage } from "./runpage.js";
import { RunsPage } from "./runs.js";
import { startTheme } from "./theme.js";

const main = byId("main"), chooser = byId("chooser");
const toggleTheme = startTheme();
let page = null, source = null, runs = [];

const chosen = () => { const found = location.hash.match(/^#\/run\/(\d+)$/); return found ? Number(found[1]) : null; };

function route() {
  page?.close();
  source?.close();
  byId("story").close();
  const number = chosen();
  page = number === null ? new RunsPage(main) : new RunPage(main, number);
  source = new EventSource(number === null ? "/api/events" : `/api/events?run=${number}`);
  source.addEventListener("open", () => link(true));
  source.addEventListener("error", () => link(false));
  source.addEventListener("runs", (event) => { runs = JSON.parse(event.data); listed(number); });
  source.addEventListener("status", (event) => { page.show(JSON.parse(event.data)); document.documentElement.dataset.events = 1 + Number(document.documentElement.dataset.events || 0); });
}

function listed(number) {
  if (number === null && runs.length === 1) { location.replace("#/run/0"); return; }
  if (number === null) page.show(runs);
  chooser.parentElement.hidden = runs.length < 2;
  const options = runs.map((run) => el("option", { value: run.run }, `${run.name} (${run.state})`));
  if (document.activeElement !== chooser) chooser.replaceChildren(el("option", { value: "" }, `All ${runs.length} runs`), ...options);
  chooser.value = number === null ? "" : String(number);
}

function link(on) {
  const place = byId("link");
  place.className = `link ${on ? "on" : "off"}`;
  place.textContent = on ? "live" : "connection lost, trying again";
}

chooser.addEventListener("change", () => { location.hash = chooser.value === "" ? "#/" : `#/run/${chooser.value}`; });
window.addEventListener("hashchange", route);
byId("help").addEventListener("click", keys);

const KEYS = [["1 … 9", "go to a section"], ["n, p", "next, previous run"], ["b", "the story of the best task"], ["t", "light or dark"], ["← → ↑ ↓", "in a chart: points and lines; with Shift in jumps"], ["Enter", "in a chart: the story of the task"], ["Esc", "close"], ["?", "these keys"]];

function keys() {
  const dialog = byId("keys");
  const rows = KEYS.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]);
  dialog.replaceChildren(el("div", { class: "body" }, el("div", { class: "closing" }, el("h2", {}, "Keys"), el("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Close")), el("dl", { class: "pairs" }, rows)));
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
  const sections = [...main.querySelectorAll("section:not([hidden]) > h2")];
  if (/^[1-9]$/.test(event.key) && sections[event.key - 1]) {
    const section = sections[event.key - 1].parentElement;
    section.scrollIntoView({ block: "start" });
    section.tabIndex = -1;
    section.focus({ preventScroll: true });
    speak(sections[event.key - 1].textContent);
  } else if (event.key === "n" || event.key === "p") {
    const next = (chosen() ?? -1) + (event.key === "n" ? 1 : -1);
    if (runs[next]) location.hash = `#/run/${next}`;
  } else if (event.key === "b") page.view?.best && page.open({ task: page.view.best.task });
  else if (event.key === "t") toggleTheme();
  else if (event.key === "?") keys();
});

route();
