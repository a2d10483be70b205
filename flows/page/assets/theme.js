// The system's theme, or the reader's choice, kept where the browser lets us.
const THEMES = ["system", "light", "dark"];
let theme = "system";

function setTheme(wanted) {
  theme = THEMES.includes(wanted) ? wanted : "system";
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  at("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("lorauter-theme", theme); } catch { /* a file may have no storage */ }
}

function startTheme(redraw) {
  let kept = "system";
  try { kept = localStorage.getItem("lorauter-theme") || "system"; } catch { /* as above */ }
  setTheme(kept);
  at("theme").addEventListener("click", () => { setTheme(THEMES[(THEMES.indexOf(theme) + 1) % 3]); redraw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
