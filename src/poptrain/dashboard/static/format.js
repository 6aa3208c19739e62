// Numbers and times, as `views.format` writes them.

export function short(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value !== "number") return value === "inf" ? "∞" : value === "-inf" ? "−∞" : String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const text = value.toPrecision(digits);
  const plain = text.includes("e") || Math.abs(value) >= 10 ** digits ? Number(text).toExponential() : String(Number(text));
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6 ? String(Number(text)) : plain;
}

export const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US"));

// "1 member", "2,000 members"; the plural of a noun in -y is passed.
export const counted = (value, noun, plural = `${noun}s`) => `${count(value)} ${value === 1 ? noun : plural}`;

export function span(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  for (const [size, unit, smaller, name] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / smaller);
    return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${name}` : ""}`;
  }
  return "1 min";
}

export function thousands(x) {
  const size = Math.abs(x);
  const cut = (value) => String(Number(value.toPrecision(4)));
  if (size >= 1e9) return `${cut(x / 1e9)}G`;
  if (size >= 1e6) return `${cut(x / 1e6)}M`;
  if (size >= 1e4) return `${cut(x / 1e3)}k`;
  return cut(x);
}

export const clock = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleTimeString() : "–");
export const settings = (hparams) => Object.entries(hparams || {}).map(([name, value]) => `${name} ${short(value)}`).join(", ");
