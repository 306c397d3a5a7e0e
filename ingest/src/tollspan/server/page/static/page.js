// The page works without this. It remembers whether light or dark is wanted, nothing else.
"use strict";
(() => {
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;
  const read = () => {
    try {
      const said = localStorage.getItem("theme");
      return THEMES.includes(said) ? said : "auto";
    } catch {
      return "auto";
    }
  };
  const apply = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const name = (theme) => { button.textContent = `Theme: ${theme}`; };
    name(read());
    button.hidden = false;
    button.addEventListener("click", () => {
      const theme = THEMES[(THEMES.indexOf(read()) + 1) % THEMES.length];
      try { localStorage.setItem("theme", theme); } catch { /* then for this page alone */ }
      apply(theme);
      name(theme);
    });
  });
})();
