// Before anything is painted: the theme that was chosen here, if one was. A classic script, so that it blocks.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("keeper.theme");
  } catch {
    // storage is forbidden: the system's theme it is
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
