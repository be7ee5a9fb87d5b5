// What belongs to the whole page: the theme, links to cases and sequences, and shortcuts.

const STORED = "prima-theme";

function setTheme(dark) {
  document.body.classList.toggle("dark", dark);
  document.querySelector("#theme")?.setAttribute("aria-pressed", String(dark));
}

export function mount(element, trigger) {
  const chosen = localStorage.getItem(STORED);
  setTheme(chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  element.querySelector("#theme").addEventListener("click", () => {
    const dark = !document.body.classList.contains("dark");
    localStorage.setItem(STORED, dark ? "dark" : "light");
    setTheme(dark);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#case-"], a[href^="#sequence-"]');
    if (!link) return;
    event.preventDefault();
    const target = decodeURIComponent(link.getAttribute("href"));
    if (target.startsWith("#case-")) trigger("cite", { case: target.slice("#case-".length), tag: link.textContent.trim() });
    else document.querySelector("#study-viewer .viewer")?.openSequence?.(target.slice("#sequence-".length));
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.target.closest?.("input, [role=listbox]")) document.querySelector("#stop-draft:not([disabled])")?.click();
  });
}
