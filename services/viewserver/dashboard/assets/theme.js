// Dark, light, or as the system has it.

import { by } from "./dom.js";

const KEY = "verge-theme";
const WORDS = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
const ORDER = Object.keys(WORDS);

function set(theme) {
  document.documentElement.dataset.theme = theme;
  by("theme").textContent = WORDS[theme];
}

export function onTheme(changed) {
  set(WORDS[localStorage.getItem(KEY)] ? localStorage.getItem(KEY) : "system");
  by("theme").addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(document.documentElement.dataset.theme) + 1) % ORDER.length];
    localStorage.setItem(KEY, next);
    set(next);
    changed();
  });
}
