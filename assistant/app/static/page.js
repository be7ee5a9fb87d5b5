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
    const link = event.target.closest?.('a[href^="#case-"], a[href^="#sequence-"], a[href^="#place-"], button[data-opens]');
    if (!link) return;
    event.preventDefault();
    const [, kind, opened] = (link.dataset.opens ?? link.getAttribute("href")).match(/^#(case|sequence|place)-(.*)$/s);
    const viewer = document.querySelector("#study-viewer .viewer");
    if (kind === "case") return trigger("cite", { case: decodeURIComponent(opened), tag: link.textContent.trim() });
    if (kind === "sequence") return viewer?.openSequence?.(decodeURIComponent(opened));
    const [series, mm] = opened.split("@");
    viewer?.openPlace?.(decodeURIComponent(series), mm.split(",").map(Number), link.textContent.trim());
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.target.closest?.("input, [role=listbox]")) document.querySelector("#stop-draft:not([disabled])")?.click();
  });
}
