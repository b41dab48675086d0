// Light, dark, or as the system has it; remembered by the browser.

import { byId } from "./dom.js";

const NAME = "ponder-theme";
const THEMES = ["auto", "light", "dark"];

function show(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme-name").textContent = theme;
}

export function startTheme() {
  const known = localStorage.getItem(NAME);
  let theme = THEMES.includes(known) ? known : "auto";
  show(theme);
  byId("theme-button").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem(NAME, theme);
    show(theme);
  });
}
