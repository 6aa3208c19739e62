// Draws any picture that `views.panels` describes: panels with axes, series, legends, hovering, clicks and keys.
import { byId, el, paint, speak, svg } from "./dom.js";
import { short } from "./format.js";
import { DASHES, draw, symbol } from "./marks.js";
import { scale } from "./scale.js";

const LEFT = 58, LETTERS = 6, LETTER = 7, RIGHT = 12, TOP = 8, BOTTOM = 36, INCH = 84;
const hidden = new Map(); // by picture: names of series that the reader switched off

// Draws `picture` into `host`; `pick({task, step, along})` is called for a click on a mark.
export function drawPicture(host, picture, pick) {
  const off = hidden.get(picture.name) || hidden.set(picture.name, new Set()).get(picture.name);
  const again = () => drawPicture(host, picture, pick);
  const wide = host.clientWidth || 600;
  const columns = wide > 640 ? picture.columns : 1;
  const heights = picture.panels.map((panel) => panel.height);
  const rows = Math.ceil(heights.length / picture.columns);
  const unit = (picture.height * INCH) / heights.filter((_, index) => index % picture.columns === 0).reduce((a, b) => a + b, 0);
  const body = el("div", { class: columns > 1 ? "grid two-wide" : "grid" });
  picture.panels.forEach((panel, index) => {
    const last = columns > 1 || !picture.same_x || picture.columns > 1 || index === picture.panels.length - 1;
    const width = columns > 1 ? (wide - 18) / 2 : wide;
    const height = Math.max(Math.min(unit * panel.height, 640), rows > 1 && picture.columns === 1 ? 110 : 190);
    body.append(drawPanel(picture, panel, index, { width, height: height + (last ? BOTTOM - 14 : 0), last, off, pick }));
  });
  const listed = picture.panels.flatMap((panel, index) => (picture.listed[index] ? panel.series : []));
  const legend = makeLegend(listed, picture.panels.map((panel) => panel.series).flat(), off, again);
  const thin = picture.of > picture.shown ? el("p", { class: "thin" }, `Simplified for the screen: ${short(picture.shown)} of ${picture.of.toLocaleString("en-US")} marks are drawn. A click finds the exact task.`) : null;
  host.replaceChildren(...[body, legend, thin].filter(Boolean));
}

// The room for the labels of the y axes, the same for all panels of a picture; names of rows may be long.
function roomAtLeft(picture, width) {
  const longest = Math.max(0, ...picture.panels.flatMap((panel) => (panel.y.ticks || []).map(([, text]) => text.length)));
  return Math.min(LEFT + LETTER * Math.max(longest - LETTERS, 0), Math.max(LEFT, width / 4));
}

function drawPanel(picture, panel, index, { width, height, last, off, pick }) {
  const series = panel.series.filter((item) => !off.has(item.name));
  const xs = series.flatMap((item) => [...(item.x || []), ...(item.x_end || [])]);
  const ys = series.flatMap((item) => [...(item.y && item.y.length !== undefined ? item.y : []), ...(item.low || []), ...(item.high || [])]);
  const allX = picture.same_x ? picture.panels.flatMap((each) => each.series.flatMap((item) => [...(item.x || []), ...(item.x_end || [])])) : xs;
  const across = scale(panel.x, allX), up = scale(panel.y, ys);
  const bottom = last ? BOTTOM : 16, left = roomAtLeft(picture, width);
  const X = (v) => left + across.place(v) * (width - left - RIGHT);
  const Y = (v) => TOP + (1 - up.place(v)) * (height - TOP - bottom);
  [X.from, X.to] = [left, width - RIGHT];
  const name = [picture.title, panel.title, panel.y.label].filter(Boolean).join(", ");
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "application", tabindex: "0", "aria-roledescription": "chart",
    "aria-label": `${name}. Arrow keys move between points, Enter opens the task.` });
  const clip = `clip-${picture.name}-${index}`;
  root.append(svg("defs", {}, svg("clipPath", { id: clip }, svg("rect", { x: left - 4, y: 0, width: width - left - RIGHT + 8, height: height - bottom + 5 }))));
  axes(root, panel, across, up, X, Y, { width, height, bottom, last, left });
  const inside = svg("g", { "clip-path": `url(#${clip})` });
  root.append(inside);
  const stacked = [];
  const groups = series.map((item) => draw(item, inside, X, Y, stacked)).filter((marks) => marks.length);
  if (!ys.length && !panel.series.some((item) => item.widths)) root.append(svg("text", { x: (left + width - RIGHT) / 2, y: (TOP + height - bottom) / 2, "text-anchor": "middle" }, "nothing to draw yet"));
  hovering(root, groups, pick);
  return el("div", { class: "panel" }, panel.title ? el("h3", {}, panel.title) : null, root);
}

function axes(root, panel, across, up, X, Y, { width, height, bottom, last, left }) {
  const floor = height - bottom, letters = Math.floor((left - LEFT) / LETTER) + 9;
  const room = Math.max(Math.floor((width - left) / 62), 2);
  const every = Math.ceil(across.ticks.length / room);
  across.ticks.forEach(([at, text], index) => {
    const x = X(at);
    if (x < left - 1 || x > width - RIGHT + 1 || index % every) return;
    if (panel.x.grid) root.append(svg("line", { class: "gridline", x1: x, x2: x, y1: TOP, y2: floor }));
    if (last) root.append(svg("text", { x, y: floor + 15, "text-anchor": "middle" }, text));
  });
  const crowd = Math.ceil(up.ticks.length / Math.max(Math.floor((floor - TOP) / 15), 1));
  up.ticks.forEach(([at, text], index) => {
    const y = Y(at);
    if (y < TOP - 1 || y > floor + 1 || index % crowd) return;
    if (panel.y.grid) root.append(svg("line", { class: "gridline", x1: left, x2: width - RIGHT, y1: y, y2: y }));
    root.append(svg("text", { x: left - 7, y: y + 4, "text-anchor": "end" }, text.length > letters ? `${text.slice(0, letters - 1)}…` : text));
  });
  root.append(svg("line", { class: "axisline", x1: left, x2: width - RIGHT, y1: floor, y2: floor }));
  if (last && panel.x.label) root.append(svg("text", { x: (left + width - RIGHT) / 2, y: floor + 31, "text-anchor": "middle" }, panel.x.label));
  if (panel.y.label) root.append(svg("text", { x: 12, y: (TOP + floor) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(TOP + floor) / 2})` }, panel.y.label.slice(0, 32)));
}

function hovering(root, groups, pick) {
  const tip = byId("tip"), cursor = svg("circle", { class: "cursor", r: 6, visibility: "hidden" });
  root.append(cursor);
  let now = null, group = 0, at = 0;
  const show = (mark, client) => {
    now = mark;
    cursor.setAttribute("visibility", mark ? "visible" : "hidden");
    tip.hidden = !mark;
    if (!mark) return;
    const x = mark.x2 === undefined ? mark.x : Math.min(Math.max(client?.local ?? (mark.x + mark.x2) / 2, mark.x), mark.x2);
    cursor.setAttribute("cx", x);
    cursor.setAttribute("cy", mark.y);
    tip.textContent = mark.text;
    const box = root.getBoundingClientRect(), ratio = box.width / root.viewBox.baseVal.width;
    const left = Math.min(box.left + x * ratio + 14, innerWidth - tip.offsetWidth - 8);
    const above = box.top + mark.y * ratio - tip.offsetHeight - 12;
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${above < 56 ? box.top + mark.y * ratio + 14 : above}px`;
  };
  const nearest = (event) => {
    const box = root.getBoundingClientRect(), ratio = root.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    let best = null, least = 34;
    for (const marks of groups) {
      for (const mark of marks) {
        const dx = mark.x2 === undefined ? mark.x - x : Math.max(mark.x - x, 0, x - mark.x2);
        const far = Math.hypot(dx, mark.y - y) - (mark.near || 0) * 0.5;
        if (far <= least) [best, least] = [mark, far];
      }
    }
    return [best, { local: x }];
  };
  const choose = (mark, local) => mark && mark.task !== undefined && mark.task !== null && pick({ task: mark.task, along: mark.along, step: mark.step });
  root.addEventListener("pointermove", (event) => show(...nearest(event)));
  root.addEventListener("pointerleave", () => show(null));
  root.addEventListener("blur", () => show(null));
  root.addEventListener("click", (event) => choose(nearest(event)[0]));
  root.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter") return choose(now);
    if (event.key === "Escape") return show(null);
    if (!move || !groups.length) return undefined;
    event.preventDefault();
    group = (group + move[0] + groups.length) % groups.length;
    const marks = groups[group], jump = event.shiftKey ? Math.ceil(marks.length / 12) : 1;
    at = now ? Math.min(Math.max(at + move[1] * jump, 0), marks.length - 1) : marks.length - 1;
    show(marks[at]);
    return speak(marks[at].text);
  });
}

function makeLegend(listed, all, off, again) {
  const shown = new Map();
  for (const item of listed) if (item.legend && item.name && !shown.has(item.name)) shown.set(item.name, item);
  const rows = [...shown.values()].sort((a, b) => (a.rank || 0) - (b.rank || 0)).slice(0, 24).map((item) => {
    const key = svg("svg", { viewBox: "0 0 18 12", "aria-hidden": "true" });
    if (item.kind === "points") key.append(symbol(item.marker, 9, 6, Math.min(Math.max(item.size * 0.72, 2.5), 6), item.shades ? "#8A93A0" : item.colour));
    else if (item.kind === "bars" || item.kind === "band") key.append(svg("rect", { x: 2, y: 1, width: 14, height: 10, fill: paint(item.colour), "fill-opacity": item.kind === "band" ? Math.min(1.6 * item.alpha, 1) : 1 }));
    else key.append(svg("line", { x1: 0, x2: 18, y1: 6, y2: 6, stroke: paint(item.colour), "stroke-width": Math.min((item.width || 1.5) + 0.8, 4), "stroke-dasharray": item.dash ? DASHES[item.dash] : null }));
    if (item.mark) key.append(symbol(item.mark, 9, 6, 5, item.colour));
    const on = !off.has(item.name);
    const toggle = () => { off[on ? "add" : "delete"](item.name); again(); };
    return el("li", {}, el("button", { type: "button", "aria-pressed": String(on), "data-key": `legend ${item.name}`, onclick: toggle }, key, item.caption || item.name));
  });
  const shades = all.find((item) => item.shades && item.values?.length)?.shades;
  if (shades) {
    const steps = shades.palette.map((colour) => el("i", { style: { background: paint(colour) } }));
    rows.push(el("li", { class: "shades" }, `${shades.label} ${short(shades.low, 3)}`, el("span", { "aria-hidden": "true" }, steps), short(shades.high, 3)));
  }
  return rows.length ? el("ul", { class: "legend", "aria-label": "Legend" }, rows) : null;
}
