// Light or dark: the system's choice until the reader makes another, which this browser then remembers.

function startTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const button = find("theme");
  const label = () => (button.textContent = isDark() ? "Light" : "Dark");
  try {
    const kept = localStorage.getItem("mvcap-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch {
    // a browser may forbid storage to files; the choice then lasts as long as the page
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("mvcap-theme", root.dataset.theme);
    } catch {
      // as above
    }
    label();
  });
  system.addEventListener("change", label);
  label();
}
