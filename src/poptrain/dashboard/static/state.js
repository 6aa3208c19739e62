// The states of a run: how each one is named and what a reader can do about it.
import { el, sentence } from "./dom.js";

const SIGNS = { running: "▶", finished: "✓", suspended: "❚❚", interrupted: "❚❚", failed: "✕", damaged: "✕", gone: "✕", waiting: "…" };

export const badge = (state) => el("span", { class: `state ${state}` }, el("span", { "aria-hidden": "true" }, SIGNS[state] || "•"), state);

// What the state means, as a notice above everything; null if the run simply goes on.
export function notice(run) {
  const view = run.view;
  if (run.state === "damaged") return box("bad", "The log cannot be read.", run.error);
  if (run.state === "gone") return box("bad", "The run directory is gone.", "It was deleted or moved, or its disk is not connected. The page shows what it had read before, and goes on if the directory comes back.");
  if (run.state === "suspended") return box("", `Suspended${view.reason ? `: ${view.reason}` : ""}. Nothing is lost.`, el("span", {}, "Continue with ", el("code", {}, run.commands.resume)));
  if (run.state === "interrupted") return box("", "This run did not end, and no process writes it now.", el("span", {}, "Everything up to the last line of the log is kept. Continue with ", el("code", {}, run.commands.resume)));
  if (run.state === "failed") return box("bad", "The run failed: no member can go on.", view.reason || "", "The table of failures below has the first error.");
  if (run.state === "running" && view && !view.results) return box("", "The first results are on their way.", "Members are training; curves appear after their first interval.");
  if (run.state === "finished" && view?.best) return box("good", `Finished: ${view.reason || "every member reached its last step"}.`, `The winner is member ${view.best.member} at step ${view.best.step.toLocaleString("en-US")}: ${view.best.evidence.replace(": ", " ")}.`);
  return null;
}

function box(kind, title, ...texts) {
  return el("section", { class: `notice ${kind}`, "aria-label": "State" }, el("h2", {}, sentence(title)), texts.filter(Boolean).map((text) => el("p", {}, typeof text === "string" ? sentence(text) : text)));
}

// A run that has no log yet, or no run at all.
export function nothing(start, state) {
  if (state === "opening") return el("section", { class: "empty" }, el("h1", {}, "Opening the run"), el("p", { class: "hush" }, "Reading its log…"));
  return el("section", { class: "empty" }, el("h1", {}, "No run here yet"),
    el("p", { class: "hush" }, "This page waits, and shows a run as soon as it writes its first line."),
    el("pre", {}, start));
}
