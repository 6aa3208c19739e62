// The winner's schedule, and the code that trains with it.
import { el, speak } from "./dom.js";
import { count, short } from "./format.js";
import { table } from "./tables.js";

export function schedule(found) {
  const names = Object.keys(found.segments[0]?.hparams || {});
  const rows = found.segments.map((each) => [count(each.start), count(each.end), `member ${each.member}`, ...names.map((name) => short(each.hparams[name], 5))]);
  const columns = [["from step", true], ["to step", true], ["trained by"], ...names.map((name) => [name, true])];
  return [
    el("h2", {}, "The winner’s schedule"),
    el("p", { class: "about" }, `What led to ${found.metric} ${short(found.score, 6)} at step ${count(found.step)}: constant values from one step to the next.`),
    ...table("The winner’s schedule", columns, rows, found.in_all),
    ...found.recipe.map(({ title, text }) => code(title, text)),
  ];
}

function code(title, text) {
  const button = el("button", { type: "button", class: "plain", "aria-label": `Copy: ${title}`, onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.closest(".recipe").querySelector("pre"));
      button.textContent = "Selected";
    }
    speak(button.textContent);
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  }
  return el("div", { class: "recipe" }, el("div", { class: "closing" }, el("h3", {}, title), button), el("pre", { tabindex: "0" }, text));
}
