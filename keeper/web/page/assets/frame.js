// What every view stands in: it is asked for again when the chain moved, never twice at once, and not while nobody
// looks; an error is told in its place and goes away by itself.

import { Problem } from "./api.js";
import { card, h } from "./dom.js";

/**
 * view: {title, events, every_ms?, load(context, signal) → data, open(root, data, context) → {update(data), close?}}.
 * The page of the server stays until the first data are there.
 */
export function openFrame(main, view, context) {
  const stop = new AbortController();
  let shown = null;
  let trouble = null;
  let loading = false;
  let again = false;
  let last = 0;
  let timer = null;

  const refresh = async () => {
    clearTimeout(timer);
    timer = null;
    if (stop.signal.aborted) return;
    if (document.hidden && shown) return void (again = true);
    if (loading) return void (again = true);
    loading = true;
    again = false;
    last = performance.now();
    try {
      const data = await view.load(context, stop.signal);
      if (stop.signal.aborted) return;
      trouble?.remove();
      trouble = null;
      if (shown) shown.update(data);
      else {
        main.replaceChildren();
        shown = view.open(main, data, context);
        main.dataset.view = view.title;
      }
    } catch (error) {
      if (stop.signal.aborted || error.name === "AbortError") return;
      const known = error instanceof Problem;
      tell(known ? error : new Problem(0, "This page has a defect", `${error.message}; please report it with what the browser's console says`));
      if (!known) reportError(error);
    } finally {
      loading = false;
      if (!stop.signal.aborted && (again || trouble)) soon();
    }
  };

  const tell = (problem) => {
    trouble?.remove();
    trouble = card(problem.title, h("p", null, problem.detail ?? ""));
    trouble.classList.add("problem");
    trouble.setAttribute("role", "alert");
    if (!shown) main.replaceChildren(h("div", { class: "head" }, h("h1", { tabindex: -1 }, view.title)));
    main.prepend(trouble);
  };

  const soon = () => {
    const pause = Math.max(0, (trouble ? 3_000 : view.every_ms ?? 1_000) - (performance.now() - last));
    timer ??= setTimeout(refresh, pause);
  };

  const visible = () => !document.hidden && again && soon();
  document.addEventListener("visibilitychange", visible);
  const deaf = ["resumed", ...(view.events ?? ["block"])].map((name) => context.live.on(name, soon));
  context.refresh = () => {
    last = 0;
    refresh();
  };
  delete main.dataset.view;
  context.title(view.title);
  return {
    ready: refresh(),
    close() {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", visible);
      for (const end of deaf) end();
      shown?.close?.();
    },
  };
}
