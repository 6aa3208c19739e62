// The story of one task, in a drawer: values, origin, why, curve, error.
import { ask, byId, el, sentence } from "./dom.js";
import { drawPicture } from "./chart.js";
import { clock, count, short, span } from "./format.js";
import { badge } from "./state.js";

const AXIS = { label: "", scale: "linear", low: null, high: null, ticks: null, whole: false, grid: true };

export async function openStory(run, { task, step = null, along = "ancestry" }) {
  const dialog = byId("story");
  const at = step === null ? "" : `&step=${step}&along=${along}`;
  const found = await ask(`/api/runs/${run}/story?task=${task}${at}`);
  if (found.loading !== undefined) return say(dialog, "The log is still being read; try again in a moment.");
  const open = (which) => openStory(run, which);
  const close = el("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Close");
  const title = el("div", { class: "closing" }, el("div", { class: "head" }, el("h1", {}, `Task ${found.task}`), badge(found.state)), close);
  const chart = el("div", { class: "holder" });
  const body = el("div", { class: "body", tabindex: "-1" }, title,
    el("p", { class: "sub" }, `member ${found.member}${found.role ? ` (${found.role})` : ""}, steps ${count(found.start)} to ${count(found.end)}`),
    el("h2", {}, "Why"), el("div", { class: "why" }, found.why.map((text) => el("p", {}, sentence(text)))),
    found.error ? [el("h3", {}, "What happened"), el("pre", { class: "wrong", tabindex: "0" }, found.error)] : null,
    el("h3", {}, "Values"), values(found),
    el("h3", {}, "Result"), pairs(result(found)),
    found.curve.length > 1 ? [el("h3", {}, "Curve inside the task"), chart] : null,
    found.suggestion ? [el("h3", {}, "The model"), pairs(model(found.suggestion))] : null,
    Object.keys(found.metrics).length ? [el("h3", {}, "Metrics"), pairs(Object.entries(found.metrics).map(([name, value]) => [name, short(value, 6)]))] : null,
    el("h3", {}, "Where its weights come from"), chain(found, open),
    found.children.length ? [el("h3", {}, `What continues from it (${found.offspring})`), el("ul", { class: "chain" }, found.children.map((id) => el("li", {}, link(id, open))))] : null);
  dialog.replaceChildren(body);
  if (!dialog.open) dialog.showModal();
  body.focus();
  dialog.scrollTop = 0;
  if (found.curve.length > 1) drawPicture(chart, curve(found), () => {});
  return undefined;
}

function say(dialog, text) {
  dialog.replaceChildren(el("div", { class: "body" }, el("p", {}, text), el("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Close")));
  if (!dialog.open) dialog.showModal();
}

const link = (id, open, text = `task ${id}`) => el("button", { type: "button", onclick: () => open({ task: id }) }, text);
const pairs = (rows) => el("dl", { class: "pairs" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "–").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

function values(found) {
  return pairs(Object.entries(found.hparams).map(([name, value]) => {
    const changed = found.changes[name];
    return [name, changed ? el("span", {}, el("span", { class: "was" }, `${short(changed[0], 6)} → `), el("b", {}, short(value, 6))) : short(value, 6)];
  }));
}

function result(found) {
  const rows = [[found.metric, short(found.score, 8)], ["gain over its parent", found.gain === null ? null : short(found.gain, 5)]];
  if (found.returns.length) rows.push(["returns", `${found.returns.length}: ${found.returns.slice(0, 12).map((value) => short(value)).join(", ")}${found.returns.length > 12 ? " …" : ""}`]);
  rows.push(["trained for", found.seconds === null ? "not reported yet" : span(found.seconds)], ["decided at", clock(found.decided)], ["reported at", clock(found.reported)], ["checkpoint", found.checkpoint]);
  return rows;
}

function model(each) {
  const rows = [["expected gain", each.gain === null ? null : `${short(each.gain)} ± ${short(each.gain_sd)}`], ["observed gain", short(each.observed)], ["intervals learned from", short(each.rows)], ["no model because", each.fallback]];
  return [...rows, ...Object.entries(each.model).map(([name, value]) => [name, short(value)])];
}

function chain(found, open) {
  const items = found.ancestors.slice().reverse().map((each) => el("li", {}, each.task === found.task ? el("b", {}, `task ${each.task}`) : link(each.task, open), ` m${each.member}${each.came === "cloned" ? ", a copy" : each.came === "fresh" ? ", fresh" : ""}`));
  return el("ul", { class: "chain" }, items, found.older ? el("li", {}, `and ${count(found.older)} older ones`) : null);
}

function curve(found) {
  const line = { kind: "line", name: found.metric, colour: "#0072B2", width: 2, alpha: 1, dash: "", stepped: false, mark: null, hover: "value", legend: false, texts: [], tasks: [], rank: 0, caption: "",
    x: found.curve.map(([at]) => at), y: found.curve.map(([, score]) => score) };
  const panel = { series: [line], x: { ...AXIS, label: "steps" }, y: { ...AXIS, label: found.metric }, title: "", height: 1, legend: false };
  return { name: "curve", title: "Curve", panels: [panel], height: 2.4, width: 6, columns: 1, legend: "", same_x: true, listed: [false], shown: 0, of: 0 };
}
