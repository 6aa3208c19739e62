// Elements without markup: whatever a user wrote becomes text, never HTML.

export function el(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "style") for (const [key, each] of Object.entries(value)) made.style.setProperty(key, each);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// A sentence whose commands stand between backticks; `begun`: with a capital letter, where it stands alone.
export function sentence(text, begun = false) {
  const whole = (begun && /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text).replace(/(\d) (?=(%|s|min|h)(\W|$))/g, "$1\u00a0");
  const parts = whole.split("`");
  return parts.length > 1 && parts.length % 2 ? parts.map((part, index) => (index % 2 ? el("code", {}, part) : part)) : whole;
}

export function svg(tag, about = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(about)) if (value !== undefined && value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

// Puts new content in the place of the old one, unless it is the same.
export function fill(host, ...children) {
  const fresh = children.flat(3).filter(Boolean);
  const inside = host.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  host.replaceChildren(...fresh);
  if (inside) host.querySelector(`[data-key="${CSS.escape(inside)}"]`)?.focus({ preventScroll: true });
  return host;
}

export const paint = (hex) => (hex ? `var(--c-${hex.slice(1).toLowerCase()}, ${hex})` : "var(--note)");

export async function ask(path) {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (answer.status === 401) throw new Error("The dashboard was started again: open the address that it printed.");
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `The server answered ${answer.status}.`);
  return found;
}

export function speak(text) {
  byId("spoken").textContent = text;
}
