// All runs side by side: a card each, and their comparison.
import { ask, el, fill, sentence } from "./dom.js";
import { drawPicture } from "./chart.js";
import { counted, short, span } from "./format.js";
import { badge, nothing } from "./state.js";

export class RunsPage {
  constructor(host) {
    [this.host, this.list, this.compared] = [host, el("ul", { class: "runs" }), el("section", { hidden: true })];
    this.asked = "";
  }

  show(runs) {
    document.title = `${counted(runs.length, "run")} – poptrain`;
    if (!runs.length) return ask("/api/start").then((found) => this.list.isConnected || fill(this.host, nothing(found.command)));
    if (!this.list.isConnected) fill(this.host, el("h1", {}, "Runs"), this.list, this.compared);
    fill(this.list, runs.map((run) => el("li", {}, card(run))));
    const mark = runs.filter((run) => run.best !== undefined && run.best !== null).map((run) => `${run.run}:${run.results}`).join();
    if (mark.includes(",") && mark !== this.asked && !this.busy) this.compare(mark);
    return undefined;
  }

  async compare(mark) {
    this.busy = true;
    this.asked = mark;
    try {
      const found = await ask("/api/compare");
      if (found.loading !== undefined) { // asking has begun to read the logs
        if (this.list.isConnected) setTimeout(() => this.compare(mark), 500);
        else [this.busy, this.asked] = [false, ""];
        return;
      }
      const chart = el("div", { class: "chart holder" });
      this.compared.hidden = false;
      fill(this.compared, el("h2", {}, "Side by side"), el("p", { class: "about" }, "Runs of one method are grouped; bands lie between the quartiles over its runs."), chart, el("ul", { class: "facts" }, found.said.map((text) => el("li", {}, sentence(text, true)))));
      drawPicture(chart, found.picture, () => {});
    } catch (error) {
      this.compared.hidden = false;
      fill(this.compared, el("h2", {}, "Side by side"), el("p", { class: "hush" }, error.message));
    }
    setTimeout(() => { this.busy = false; }, 3000);
  }

  close() {}
}

function card(run) {
  const share = run.state === "finished" ? 1 : run.generations ? Math.min(run.generation / run.generations, 1) : 0;
  const bad = (run.failed || 0) + (run.diverged || 0) + (run.lost || 0);
  return el("a", { href: `#/run/${run.run}`, "data-key": `run ${run.run}` }, el("div", { class: "head" }, el("strong", {}, run.name), badge(run.state)),
    run.algorithm ? el("div", { class: "hush" }, `${run.algorithm} · ${counted(run.members, "member")}`) : el("div", { class: "hush" }, run.error || "It has not written its first line."),
    run.best === undefined || run.best === null ? null : el("b", {}, short(run.best, 6)),
    run.metric ? el("div", { class: "hush" }, `${run.metric}, ${counted(run.results, "result")}, ${span(run.elapsed)}${bad ? `, ${counted(bad, "failure")}` : ""}`) : null,
    el("progress", { value: String(share), max: "1", "aria-label": `Progress of ${run.name}` }));
}
