// The tables: the population now, exploits, failures.
import { el, paint, sentence } from "./dom.js";
import { count, settings, short } from "./format.js";

const COLOURS = ["#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A4C93", "#1B7F79", "#8C6D31"];

export function table(label, columns, rows, in_all = rows.length) {
  const head = columns.map(([name, number]) => el("th", { scope: "col", class: number ? "n" : "" }, name));
  const more = in_all > rows.length ? el("p", { class: "about" }, `The newest ${count(rows.length)} of ${count(in_all)}.`) : null;
  const body = rows.map((cells) => el("tr", { class: cells.kind || "" }, cells.map((cell, index) => el("td", { class: columns[index][1] ? "n" : columns[index][2] ? "text" : "" }, cell ?? "–"))));
  return [more, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)))];
}

const link = (task, open, text = `task ${task}`) => el("button", { type: "button", "data-key": `${text} ${task}`, onclick: () => open({ task }) }, text);

export function population(view, open) {
  const few = view.members_in_all <= COLOURS.length;
  const order = view.members.map((each) => each.member).sort((a, b) => a - b);
  const known = view.members.map((each) => each.score).filter((score) => typeof score === "number");
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const names = Object.keys(view.members[0]?.hparams || {});
  const columns = [["member"], [view.metric, true], ["state"], ["step", true], ...names.map((name) => [name, true]), ["copied"]];
  const rows = view.members.map((each) => {
    const share = high > low && typeof each.score === "number" ? (each.score - low) / (high - low) : 0;
    const meter = el("span", { class: "meter", "aria-hidden": "true" }, el("i", { style: { width: `${100 * (view.mode === "min" ? 1 - share : share)}%` } }));
    const dot = few ? el("span", { class: "dot", "aria-hidden": "true", style: { background: paint(COLOURS[order.indexOf(each.member)]) } }) : null;
    const values = (!["training", "suspended"].includes(each.state) && each.score_hparams) || each.hparams; // as Status.values
    const cells = [
      el("span", {}, dot, el("button", { type: "button", "data-key": `member ${each.member}`, onclick: () => open({ member: each.member }) }, `member ${each.member}`)),
      el("span", {}, short(each.score, 6), meter),
      el("span", { class: each.state === "failed" ? "wrong" : "" }, each.state),
      count(each.step),
      ...names.map((name) => short(values[name])),
      each.cloned_from === null ? "" : `member ${each.cloned_from} at ${count(each.cloned_at)}`,
    ];
    if (view.best?.member === each.member && view.best.score === each.score) cells.kind = "best-row";
    return cells;
  });
  const more = view.members_in_all > rows.length ? ` The best ${rows.length} are listed.` : "";
  return [el("h2", {}, "Population now"), el("p", { class: "about" }, `Best first. Right after a copy, a member has the score of its donor.${more}`), ...table("Population now", columns, rows)];
}

const changes = (each) => Object.entries(each.changes).map(([name, [old, fresh]]) => el("span", {}, el("code", {}, name), " ", el("span", { class: "was" }, short(old)), ` → ${short(fresh)}  `));

export function exploits(found, open) {
  const rows = found.rows.map((each) => [count(each.step), `member ${each.member}`, `member ${each.donor}`, each.failed ? "it had failed" : "it was worse",
    el("span", {}, changes(each)), link(each.task, open, "why")]);
  const body = rows.length ? table("Exploits", [["step", true], ["replaced"], ["by a copy of"], ["because"], ["donor’s value → new value", false, true], ["story"]], rows, found.in_all) : el("p", { class: "about" }, "No member was copied so far.");
  return [el("h2", {}, "Exploits"), body];
}

export function failures(found, open) {
  const rows = found.rows.map((each) => [count(each.step), `member ${each.member}`, each.kind, el("span", { class: "mono" }, sentence(each.what)), settings(each.hparams), link(each.task, open)]);
  return [el("h2", {}, "Failures"), ...table("Failures", [["step", true], ["member"], ["kind"], ["what happened", false, true], ["hyperparameters", false, true], ["story"]], rows, found.in_all)];
}
