// Light or dark: what the system says, until the reader chooses.
import { byId } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };

export function startTheme() {
  const apply = () => {
    const dark = (stored() || (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", `Use the ${dark ? "light" : "dark"} theme`);
  };
  system.addEventListener("change", apply);
  byId("theme").addEventListener("click", toggle);
  window.addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; });
  window.addEventListener("afterprint", apply);
  function toggle() {
    try { localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark"); } catch { /* a private window */ }
    apply();
  }
  apply();
  return toggle;
}
