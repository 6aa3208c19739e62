// Scales: from a value to a place between 0 and 1, and ticks at round values.
import { thousands, short } from "./format.js";

const nines = (value) => -Math.log10(Math.max(1 - value, 1e-16));
const KINDS = { linear: (v) => v, log: (v) => Math.log10(v), nines };

export function scale(axis, values) {
  const to = KINDS[axis.scale] || KINDS.linear;
  const finite = values.filter((v) => typeof v === "number" && Number.isFinite(v) && (axis.scale !== "log" || v > 0));
  let low = axis.low, high = axis.high;
  const free = low === null || high === null;
  if (low === null || low === undefined) low = finite.length ? Math.min(...finite) : 0;
  if (high === null || high === undefined) high = finite.length ? Math.max(...finite) : 1;
  if (low === high) [low, high] = axis.scale === "log" ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.05 || 0.5), high + (Math.abs(high) * 0.05 || 0.5)];
  let [a, b] = [to(low), to(high)];
  if (free) {
    const pad = (b - a) * 0.04;
    a = axis.low === null ? a - pad : a;
    b = axis.high === null ? b + pad : b;
  }
  const place = (v) => (to(v) - a) / (b - a);
  return { place, ticks: axis.ticks ? axis.ticks.map(([at, text]) => [at, text]) : ticks(axis, a, b), low: a, high: b };
}

function ticks(axis, a, b) {
  const [low, high] = a < b ? [a, b] : [b, a];
  if (axis.scale === "log") return logTicks(low, high);
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough) || 10);
  if (axis.whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push([Number(at.toPrecision(12)), null]);
  const kilo = high >= 1e4 && high < 1e6; // 5k next to 10k
  return found.map(([at]) => [at, !axis.label.startsWith("step") ? short(at, 5) : kilo && at >= 1e3 ? `${at / 1e3}k` : thousands(at)]);
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const each of high - low < 2.2 ? [1, 2, 5] : [1]) {
      const at = each * 10 ** power;
      if (Math.log10(at) >= low - 1e-9 && Math.log10(at) <= high + 1e-9) found.push([at, short(at, 3)]);
    }
  }
  return found;
}
