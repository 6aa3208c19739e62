// The page of one run. Its parts are replaced as events arrive; pictures and tables are fetched when they are in sight.
import { ask, byId, el, fill, speak } from "./dom.js";
import { head } from "./head.js";
import { Pictures } from "./pictures.js";
import { schedule } from "./schedule.js";
import { nothing } from "./state.js";
import { openStory } from "./story.js";
import { exploits, failures, population } from "./tables.js";

const TABLES = 1500; // milliseconds between two looks at the tables, at least

export class RunPage {
  constructor(host, run) {
    [this.host, this.run, this.pictures, this.asked, this.state, this.timer] = [host, run, null, -1, null, 0];
    this.parts = Object.fromEntries(["head", "population", "schedule", "exploits", "failures"].map((name) => [name, el(name === "head" ? "div" : "section", { id: `part-${name}` })]));
  }

  show(run) {
    document.title = `${run.name}: ${run.state} – poptrain`;
    if (!run.view) {
      fill(this.host, run.state === "damaged" ? el("section", { class: "empty" }, el("h1", {}, "The log cannot be read"), el("p", { class: "wrong" }, run.error)) : nothing(run.commands.start, run.state));
      return;
    }
    this.view = run.view;
    const broken = run.state === "failed";
    const names = `${run.panels.join(" ")}${broken ? " broken" : ""}`;
    if (this.names !== names) this.build(run, names, broken);
    fill(this.parts.head, head(run, (which) => this.open(which)));
    fill(this.parts.population, population(run.view, (which) => this.open(which)));
    this.parts.failures.hidden = !(run.view.failed + run.view.diverged + run.view.lost);
    this.parts.schedule.hidden = !run.view.best;
    this.pictures.update(run.version);
    this.version = run.version;
    this.tables();
    if (this.state && this.state !== run.state) speak(`The run is ${run.state}.`);
    this.state = run.state;
  }

  build(run, names, broken) {
    this.pictures?.close();
    this.pictures = new Pictures(this.run, run.panels, (which) => this.open(which));
    this.names = names;
    const drawn = run.panels.map((name) => this.pictures.sections.get(name));
    const [score, ...others] = drawn;
    const failed = this.parts.failures; // of a run that failed, they come first
    fill(this.host, this.parts.head, broken ? failed : null, score, this.parts.population, others, broken ? null : failed, this.parts.schedule, this.parts.exploits);
  }

  async tables() {
    if (this.waiting || this.asked === this.version) return;
    this.waiting = true;
    this.asked = this.version;
    try {
      const open = (which) => this.open(which);
      const wanted = [["exploits", exploits], ...(this.parts.failures.hidden ? [] : [["failures", failures]]), ...(this.parts.schedule.hidden ? [] : [["schedule", schedule]])];
      for (const [name, make] of wanted) {
        const found = await ask(`/api/runs/${this.run}/${name}`);
        if (found.loading === undefined) keepScroll(this.parts[name], () => fill(this.parts[name], make(found, open)));
        else this.asked = -1;
      }
      document.documentElement.dataset.tables = this.asked;
    } catch (error) {
      fill(this.parts.exploits, el("p", { class: "wrong" }, error.message));
    }
    this.timer = setTimeout(() => { this.waiting = false; this.tables(); }, TABLES);
  }

  async open(which) {
    try {
      const chosen = which.member === undefined ? which : { task: await this.newest(which.member) };
      await openStory(this.run, chosen);
    } catch (error) {
      speak(error.message);
      byId("link").textContent = error.message;
    }
  }

  async newest(member) {
    const found = await ask(`/api/runs/${this.run}/newest?member=${member}`);
    return found.task;
  }

  close() {
    clearTimeout(this.timer);
    this.pictures?.close();
  }
}

function keepScroll(part, change) {
  const before = part.querySelector(".scroll")?.scrollTop || 0;
  change();
  const after = part.querySelector(".scroll");
  if (after) after.scrollTop = before;
}
