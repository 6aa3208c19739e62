// The pictures of a run: each is fetched when it comes into sight, and again when the log has grown.
import { ask, el } from "./dom.js";
import { drawPicture } from "./chart.js";

const ABOUT = {
  score: ["Score along ancestry", "Each line follows the weights of one member back through all members that it was copied from. A ring is an exploit; a click opens its story."],
  hparams: ["Hyperparameters along ancestry", "What the weights of each member were trained with over the steps."],
  tree: ["Family tree", "One row for each member: the pieces are training, coloured by score; a line with a tip is a copy. A click opens the story of the task."],
  spread: ["Spread of the population", "By generation. First members: those with descendants. Equal lineages: lineages of equal size that are as diverse."],
  time: ["Time spent", "Training and saving, queued for a slot, waiting for the others of a round, and deciding what comes next."],
  model: ["Suggestions of the model", "What the surrogate expected of the hyperparameters that it proposed, over one interval, and what was observed; on the dotted line it was right."],
  team: ["Actors of teams", "Each member is a team of several actors. The score of every actor of the best team, and how far apart the actors of each team are."],
  region: ["The trust region", "Suggestions stay inside it: how wide it was at each decision, in units of each range. It grows after successes, shrinks after failures, and begins again when it is at its smallest."],
  architectures: ["Architectures by generation", "Every network that began with new weights: large ones became members, small ones were given up. The colour is the best score that it reached. A click opens the story of its first task."],
  subpopulations: ["Sub-populations", "The values of each sub-population, and the hand-overs of weights from a parent to its child."],
};

const LATER = 1500; // milliseconds after which pictures are fetched that are not in sight

export class Pictures {
  constructor(run, names, pick) {
    [this.run, this.pick, this.known] = [run, pick, new Map()];
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
      const each = this.known.get(entry.target.dataset.name);
      each.visible = entry.isIntersecting;
      if (each.visible) this.fetch(each);
    }), { rootMargin: "300px" });
    this.sizes = new ResizeObserver((entries) => entries.forEach((entry) => {
      const each = this.known.get(entry.target.dataset.name);
      if (each?.picture && Math.abs(each.width - entry.contentRect.width) > 1) this.draw(each);
    }));
    this.version = -1;
    this.idle = setTimeout(() => this.rest(), LATER);
    this.sections = new Map(names.map((name) => [name, this.section(name)]));
  }

  section(name) {
    const [title, about] = ABOUT[name] || [name, ""];
    const holder = el("div", { class: "chart holder", "data-name": name }, el("p", { class: "hush" }, "Reading the log…"));
    this.known.set(name, { name, holder, picture: null, version: -1, visible: false, busy: false, timer: 0, width: 0 });
    this.seen.observe(holder);
    this.sizes.observe(holder);
    return el("section", { id: `section-${name}` }, el("h2", {}, title), el("p", { class: "about" }, about), holder);
  }

  // Fetches what has not been in sight yet, one after another: a printed page has every picture.
  async rest() {
    for (const each of this.known.values()) if (!each.picture) await this.fetch(each);
  }

  update(version) {
    this.version = version;
    for (const each of this.known.values()) if (each.visible) this.fetch(each);
  }

  async fetch(each) {
    if (each.busy || each.version === this.version) return;
    each.busy = true;
    clearTimeout(each.timer);
    let wait = null;
    try {
      const found = await ask(`/api/runs/${this.run}/panels/${each.name}`);
      if (found.loading !== undefined) {
        each.holder.replaceChildren(el("p", { class: "hush" }, `Reading the log… ${Math.round(100 * found.loading)} %`));
        wait = 0.7;
      } else {
        [each.picture, each.version] = [found, found.version];
        wait = found.again === null ? null : found.again + 0.05;
        this.draw(each);
      }
    } catch (error) {
      each.holder.replaceChildren(el("p", { class: "wrong" }, String(error.message || error)));
    }
    each.busy = false;
    if (wait !== null) each.timer = setTimeout(() => this.fetch(each), 1000 * wait);
    else if (each.version < this.version && each.picture) this.fetch(each);
  }

  draw(each) {
    each.width = each.holder.clientWidth;
    const marks = each.picture.panels.some((panel) => panel.series.some((item) => (item.x || item.widths || []).length));
    const focused = each.holder.contains(document.activeElement) ? document.activeElement.dataset.key || "svg" : null;
    each.holder.classList.toggle("blank", !marks);
    if (!marks) each.holder.replaceChildren(el("p", { class: "hush" }, "Nothing to draw: no result has a score."));
    else drawPicture(each.holder, each.picture, this.pick);
    if (focused) each.holder.querySelector(focused === "svg" ? "svg[tabindex]" : `[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.documentElement.dataset.drawn = [...this.known.values()].filter((one) => one.picture).length;
  }

  close() {
    clearTimeout(this.idle);
    this.seen.disconnect();
    this.sizes.disconnect();
    for (const each of this.known.values()) clearTimeout(each.timer);
  }
}
