// The top of a run: name, state, progress, cards, warnings.
import { el, sentence } from "./dom.js";
import { count, counted, settings, short, span } from "./format.js";
import { badge, notice } from "./state.js";

export function head(run, open) {
  const view = run.view;
  const better = view.mode === "min" ? "lower is better" : "higher is better";
  const share = progress(view);
  return [
    el("div", { class: "head" }, el("h1", {}, run.name), badge(run.state)),
    el("p", { class: "sub" }, `${view.algorithm} · ${population(view)} · ${view.trainable} · ${view.metric}, ${better} · seed ${view.seed}`),
    share === null ? null : el("progress", { value: String(share), max: "1", "aria-label": `Progress: ${Math.round(100 * share)} %` }),
    notice(run),
    cards(view, run.state, open),
    trouble(view, run.state),
    remarks(view),
  ];
}

function population(view) {
  const measuring = view.evaluators ? ` and ${counted(view.evaluators, "evaluator")}` : "";
  return `${counted(view.members_in_all, "member")}${measuring}`;
}

function progress(view) {
  if (view.state === "finished") return 1;
  if (view.left !== null && view.elapsed + view.left > 0) return view.elapsed / (view.elapsed + view.left);
  return view.generations ? Math.min(view.generation / view.generations, 1) : null;
}

function cards(view, state, open) {
  const bad = view.failed + view.diverged + view.lost;
  const found = [];
  if (view.best) {
    const story = el("button", { class: "plain", type: "button", "data-key": "best", onclick: () => open({ task: view.best.task }) }, `task ${view.best.task}`);
    found.push(card(`best ${view.metric}`, short(view.best.score, 6), el("small", {}, `member ${view.best.member}, step ${count(view.best.step)} `, story), "best"));
  }
  found.push(card("generation", view.generations ? `${count(view.generation)} of ${count(view.generations)}` : count(view.generation)));
  if (state === "running") found.push(card("time left", view.left === null ? "–" : `≈ ${span(view.left)}`));
  found.push(card("wall time", span(view.elapsed)));
  const speed = view.steps_per_second ?? view.steps_per_second_overall;
  if (speed) found.push(card("steps per second", speed >= 100 ? count(speed) : short(speed, 3), el("small", {}, `${counted(view.steps, "step")} by all`)));
  found.push(card("exploits", count(view.exploits), el("small", {}, counted(view.results, "result"))));
  found.push(card("failures", count(bad), bad ? el("small", {}, parts(view)) : null, bad ? "bad" : ""));
  return el("dl", { class: "cards" }, found);
}

const parts = (view) => ["failed", "diverged", "lost"].filter((name) => view[name]).map((name) => `${count(view[name])} ${name}`).join(", ");

// What goes wrong, in words and without scrolling; the state "failed" has a notice of its own.
function trouble(view, state) {
  const [first, ...others] = state === "failed" ? [] : view.troubles;
  if (!first) return null;
  const where = first.members.length === 1 ? `member ${first.members[0]}` : counted(first.members.length, "member");
  const more = others.length ? ` There ${others.length === 1 ? "is 1 other cause" : `are ${others.length} other causes`}.` : "";
  const jump = el("button", { class: "plain", type: "button", "data-key": "failures", onclick: () => document.getElementById("part-failures").scrollIntoView() }, "All failures");
  return el("section", { class: "notice bad", "aria-label": "What goes wrong" }, el("h2", {}, `The newest failure of ${where}`), el("p", { class: "mono" }, sentence(first.error)), el("p", {}, `Members that fail are replaced by copies of others.${more} `, jump));
}

const card = (label, value, more = null, kind = "") => el("div", { class: `${kind}${value.length > 9 ? " long" : ""}` }, el("dt", {}, label), el("dd", {}, value, more));

function remarks(view) {
  const lines = [...(view.best ? [`Best with ${settings(view.best.hparams)}.`] : []), ...view.sentences, ...(view.no_decision ? [view.no_decision] : [])];
  const warned = view.warnings.map((text) => el("li", { class: "wrong" }, sentence(text, true)));
  if (!lines.length && !warned.length) return null;
  return el("section", { "aria-label": "What the log says" }, el("h2", {}, "What the log says"), el("ul", { class: "facts" }, lines.map((text) => el("li", {}, sentence(text, true))), warned));
}
