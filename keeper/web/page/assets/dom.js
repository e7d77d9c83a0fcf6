// Elements from plain values. Text is only ever text: nothing here or elsewhere parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. attributes: `on*` are listeners, true is an empty attribute, null and false are none. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Replace everything inside an element. */
export function show(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

const forms = new WeakMap();

/** Replace everything inside an element if the data it shows changed: otherwise a button that is being pressed and a
 * text that is being selected stay. Returns whether it did. */
export function redraw(element, data, draw) {
  const form = JSON.stringify(data ?? null);
  if (forms.get(element) === form) return false;
  forms.set(element, form);
  show(element, draw());
  return true;
}

/** Set the text of an element only where it differs: a table that scrolls writes thousands of these. */
export function say(element, text) {
  if (element.firstChild === null) element.append(text);
  else if (element.firstChild.data !== text) element.firstChild.data = text;
}

export function link(href, text, attributes) {
  return h("a", { href, ...attributes }, text);
}

/** A button that copies exactly this text, and says that it did. */
export function copyButton(text, what) {
  const button = h("button", { type: "button", class: "plain copy", "aria-label": `Copy ${what}`, title: text }, "copy");
  button.addEventListener("click", async () => {
    const copied = await copy(text);
    button.textContent = copied ? "copied" : "select and copy";
    button.classList.toggle("copied", copied);
    setTimeout(() => {
      button.textContent = "copy";
      button.classList.remove("copied");
    }, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not a secure context, or not allowed
  }
}

export function table(caption, heads, rows) {
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      null,
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col", class: head.number && "number" }, head.name)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell, i) => h("td", { class: heads[i].number && "number" }, cell))))),
    ),
  );
}

export function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "facts" }, known.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

export function card(title, ...children) {
  return h("section", { class: "card" }, h("h2", null, title), children);
}
