// How each kind of series is drawn, and where its marks are, for hovering.
import { paint, svg } from "./dom.js";

export const DASHES = { dashed: "6 4", dotted: "1.5 4" };

// Draws a series into `into` and returns its marks: {x, y, x2?, text, task, step}.
export function draw(item, into, X, Y, rows) {
  return (DRAW[item.kind] || (() => []))(item, into, X, Y, rows);
}

const DRAW = {
  line(item, into, X, Y) {
    let path = "", open = false, before = null;
    const marks = [];
    item.x.forEach((value, index) => {
      const high = item.y[index];
      if (typeof value !== "number" || typeof high !== "number") { open = false; return; }
      const x = X(value), y = Y(high);
      if (!Number.isFinite(y)) { open = false; return; }
      path += open ? (item.stepped ? `L${fix(x)} ${fix(before)}L${fix(x)} ${fix(y)}` : `L${fix(x)} ${fix(y)}`) : `M${fix(x)} ${fix(y)}`;
      open = true;
      before = y;
      if (item.hover) marks.push({ x, y, step: value, value: item.texts[index] ?? high });
    });
    into.append(svg("path", { d: path, fill: "none", stroke: paint(item.colour), "stroke-width": item.width, "stroke-opacity": item.alpha,
      "stroke-dasharray": DASHES[item.dash], "stroke-linejoin": "round", "stroke-linecap": "round" }));
    return marks.map((mark) => ({ ...mark, text: `${item.name}, step ${mark.step.toLocaleString("en-US")}: ${mark.value}`, task: item.tasks[0], along: "ancestry" }));
  },
  band(item, into, X, Y) {
    const there = [], back = [];
    item.x.forEach((value, index) => {
      if (typeof item.low[index] !== "number" || typeof item.high[index] !== "number") return;
      if (item.stepped && there.length) { there.push(`${fix(X(value))} ${there.last}`); back.push(`${fix(X(value))} ${back.last}`); }
      there.last = fix(Y(item.high[index]));
      back.last = fix(Y(item.low[index]));
      there.push(`${fix(X(value))} ${there.last}`);
      back.push(`${fix(X(value))} ${back.last}`);
    });
    if (there.length) into.append(svg("path", { d: `M${there.join("L")}L${back.reverse().join("L")}Z`, fill: paint(item.colour), "fill-opacity": item.alpha }));
    return [];
  },
  points(item, into, X, Y) {
    const outline = OUTLINES[item.marker];
    let joined = ""; // of marks that look alike
    const marks = item.x.map((value, index) => {
      const x = X(value), y = Y(item.y[index]);
      const colour = item.shades ? shade(item.shades, item.values[index]) : item.colour;
      if (item.spread.length) {
        const half = item.spread[index];
        into.append(svg("line", { x1: X(value - half), x2: X(value + half), y1: y, y2: y, stroke: paint("#8A93A0"), "stroke-width": 1 }));
      }
      if (outline && !item.shades) joined += outline(fix(x), fix(y), item.size * 0.72);
      else {
        const mark = symbol(item.marker, x, y, item.size * 0.72, colour, item.alpha);
        if (item.shades && mark.getAttribute("stroke") === "var(--paper)") mark.setAttribute("stroke", "var(--axis)"); // pale ones too
        into.append(mark);
      }
      return item.hover ? { x, y, text: item.texts[index] ?? item.name, task: item.tasks[index], near: item.size, step: null } : null;
    }).filter(Boolean);
    if (joined) into.append(svg("path", { d: joined, ...look(item.marker, item.colour, item.alpha) }));
    return marks;
  },
  segments(item, into, X, Y) {
    const group = svg("g", { "stroke-width": item.width * 1.25, "stroke-opacity": item.alpha, "stroke-linecap": "butt", fill: "none" });
    const byColour = new Map(); // thousands of elements would make every change of the page slow
    into.append(group);
    const marks = item.x.map((value, index) => {
      const [x, y, x2, y2] = [X(value), Y(item.y[index]), X(item.x_end[index]), Y(item.y_end[index])];
      const colour = item.shades ? shade(item.shades, item.values[index]) : item.colour;
      byColour.set(colour, `${byColour.get(colour) || ""}M${fix(x)} ${fix(y)}L${fix(x2 + (y === y2 ? 0.4 : 0))} ${fix(y2)}`);
      return item.hover ? { x, y, x2, text: item.texts[index], task: item.tasks[index], along: "seat", step: null } : null;
    }).filter(Boolean);
    for (const [colour, d] of byColour) group.append(svg("path", { d, stroke: paint(colour) }));
    return marks;
  },
  bars(item, into, X, Y, rows) {
    return item.widths.map((wide, row) => {
      const from = rows[row] || 0;
      rows[row] = from + wide;
      const height = Math.abs(Y(1) - Y(0)) * 0.72;
      const x = X(from), x2 = X(from + wide), y = Y(row);
      into.append(svg("rect", { x, y: y - height / 2, width: Math.max(x2 - x, 0), height, fill: paint(item.colour) }));
      return { x, x2, y, text: item.texts[row] || item.name, step: null };
    });
  },
  rule(item, into, X, Y, rows, width) {
    into.append(svg("line", { class: "rule", x1: X.from, x2: X.to, y1: Y(item.y), y2: Y(item.y) }));
    return [];
  },
};

// Marks that a path can draw, by the middle and half the size.
const OUTLINES = {
  cross: (x, y, r) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
  tick: (x, y, r) => `M${x} ${y - r}V${y + r}`,
  up: (x, y, r) => `M${x} ${y - r}L${x + r} ${y + r}H${x - r}Z`,
  down: (x, y, r) => `M${x} ${y + r}L${x + r} ${y - r}H${x - r}Z`,
};

function look(marker, colour, alpha) {
  const stroke = paint(colour);
  if (marker === "cross" || marker === "tick") return { fill: "none", stroke, "stroke-width": 2, opacity: alpha };
  return { fill: stroke, stroke: "var(--paper)", "stroke-width": 0.8, opacity: alpha };
}

export function symbol(marker, x, y, r, colour, alpha = 1) {
  const full = look(marker, colour, alpha);
  if (marker === "ring") return svg("circle", { cx: fix(x), cy: fix(y), r: Math.max(r, 2), fill: "var(--paper)", stroke: paint(colour), "stroke-width": r < 3 ? 1.2 : 2, opacity: alpha });
  if (OUTLINES[marker]) return svg("path", { d: OUTLINES[marker](x, y, r), ...full });
  if (marker === "star") {
    const points = Array.from({ length: 10 }, (_, k) => {
      const far = k % 2 ? r * 0.42 : r, angle = (Math.PI * k) / 5 - Math.PI / 2;
      return `${fix(x + far * Math.cos(angle))},${fix(y + far * Math.sin(angle))}`;
    });
    return svg("polygon", { points: points.join(" "), ...full });
  }
  return svg("circle", { cx: fix(x), cy: fix(y), r, ...full });
}

export function shade(shades, value) {
  const share = (value - shades.low) / (shades.high - shades.low || 1);
  const at = Math.min(Math.max(Math.floor(share * shades.palette.length), 0), shades.palette.length - 1);
  return shades.palette.length > 2 ? shades.palette[Number.isFinite(at) ? at : 0] : shades.palette[share > 0.5 ? 1 : 0];
}

const fix = (x) => Math.round(x * 10) / 10;
