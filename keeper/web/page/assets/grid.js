// A table of any length: only the rows in sight exist, taken from a pool and moved by transforms.
//
// Rows have one height (from CSS, --row). Row i lives in slot i modulo the size of the pool, so that scrolling by one
// row rewrites one row. Keys: arrows, page up and down, home, end; Enter opens; a click opens as well. Exactly one row
// can be reached by Tab (roving), and the focus stays with its row, not with its place, when the order changes.

import { h } from "./dom.js";

const SPARE = 6;

export class Grid {
  /**
   * columns: [{name, class, sort?, unseen?}]; sort: the key told to onSort; unseen: named only for who cannot see. make(): the cells of a row, once per pooled row.
   * fill(cells, i): write row i into them. open(i): it was chosen. onKey(key, i): any other key on row i.
   */
  constructor({ label, columns, make, fill, open, onSort, onKey }) {
    Object.assign(this, { make, fill, open, onSort, onKey });
    this.count = 0;
    this.active = 0;
    this.first = 0;
    this.last = -1;
    this.pool = [];
    this.heads = columns.map((column) => this.headOf(column));
    this.body = h("div", { class: "body", role: "rowgroup" });
    this.element = h(
      "div",
      { class: "grid", role: "grid", "aria-label": label, "aria-colcount": columns.length },
      h("div", { class: "row heads", role: "row", "aria-rowindex": 1 }, this.heads),
      this.body,
    );
    this.element.addEventListener("scroll", () => this.soon(), { passive: true });
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    this.sized = new ResizeObserver(() => this.measure());
    this.sized.observe(this.element);
  }

  headOf({ name, class: kind, sort, unseen }) {
    const inner = sort ? h("button", { type: "button", onclick: () => this.onSort(sort) }, name) : h("span", { class: unseen && "unseen" }, name);
    const head = h("div", { class: `cell ${kind}`, role: "columnheader", "aria-sort": sort ? "none" : null }, inner);
    head.sortKey = sort;
    return head;
  }

  /** Show by which column rows are sorted; key: with "-" in front when descending. */
  sortedBy(key) {
    for (const head of this.heads) {
      if (!head.sortKey) continue;
      const sorted = key === head.sortKey ? "ascending" : key === `-${head.sortKey}` ? "descending" : "none";
      head.setAttribute("aria-sort", sorted);
    }
  }

  /** Other rows, or the same in another state or order. */
  update(count, activeIndex = 0) {
    const held = this.pool.some((row) => row.element === document.activeElement);
    this.count = count;
    this.active = Math.max(0, Math.min(activeIndex, count - 1));
    this.element.setAttribute("aria-rowcount", count + 1);
    this.body.style.height = `${count * this.rowHeight}px`;
    this.draw(true);
    if (held) this.rowAt(this.active)?.element.focus({ preventScroll: true });
  }

  measure() {
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row"));
    const slots = Math.ceil(this.element.clientHeight / height) + SPARE;
    if (height === this.height && slots === this.pool.length) return;
    this.height = height;
    this.body.style.height = `${this.count * height}px`;
    while (this.pool.length < slots) this.pool.push(this.row());
    for (const row of this.pool.splice(slots)) row.element.remove();
    this.draw(true);
  }

  get rowHeight() {
    return this.height ?? 38;
  }

  row() {
    const cells = this.make();
    const element = h("div", { class: "row", role: "row", tabindex: -1 }, Object.values(cells).map((cell) => cell.element ?? cell));
    this.body.append(element);
    return { element, cells, index: -1 };
  }

  rowAt(index) {
    const row = this.pool.length ? this.pool[index % this.pool.length] : null;
    return row?.index === index ? row : null;
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw(false);
    });
  }

  /** all: rewrite also the rows that are where they were. */
  draw(all) {
    const slots = this.pool.length;
    if (!slots) return;
    const above = Math.floor(this.element.scrollTop / this.rowHeight) - SPARE / 2;
    this.first = Math.max(0, Math.min(above, this.count - slots));
    this.last = Math.min(this.count, this.first + slots) - 1;
    let used = 0;
    for (let index = this.first; index <= this.last; index += 1, used += 1) {
      const row = this.pool[index % slots];
      if (row.index !== index || all) this.put(row, index);
    }
    if (used === slots) return;
    for (const row of this.pool) {
      if (row.index < this.first || row.index > this.last) {
        row.element.hidden = true;
        row.index = -1;
      }
    }
  }

  put(row, index) {
    const { element } = row;
    if (row.index !== index && element.contains(document.activeElement)) this.park();
    if (row.index !== index) {
      element.style.transform = `translateY(${index * this.rowHeight}px)`;
      element.setAttribute("aria-rowindex", index + 2);
      element.hidden = false;
      row.index = index;
    }
    element.tabIndex = index === this.active ? 0 : -1;
    this.fill(row.cells, index);
  }

  /** The focused row was scrolled out of sight: the table keeps the focus, and the next key brings the row back. */
  park() {
    this.body.tabIndex = -1;
    this.body.focus({ preventScroll: true });
  }

  activate(index, focus) {
    if (!this.count) return;
    const before = this.rowAt(this.active);
    this.active = Math.max(0, Math.min(index, this.count - 1));
    if (before) before.element.tabIndex = -1;
    this.reveal(this.active);
    const row = this.rowAt(this.active);
    if (row) row.element.tabIndex = 0;
    if (focus) row?.element.focus({ preventScroll: true });
  }

  reveal(index) {
    const top = index * this.rowHeight;
    const heads = this.heads[0].parentElement.offsetHeight;
    const seen = this.element.clientHeight - heads;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > this.element.scrollTop + seen) this.element.scrollTop = top + this.rowHeight - seen;
    this.draw(false);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const target = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.count - 1,
    }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      this.activate(target, true);
    } else if (event.key === "Enter" && event.target.getAttribute("role") === "row") {
      event.preventDefault();
      this.open(this.active);
    } else if (event.key.length === 1) this.onKey(event.key, this.active);
  }

  click(event) {
    if (event.target.closest("a, button")) return;
    const row = this.pool.find((one) => one.element.contains(event.target));
    if (!row) return;
    this.activate(row.index, false);
    if (!getSelection().toString()) this.open(row.index);
  }

  focused(event) {
    const row = this.pool.find((one) => one.element.contains(event.target));
    if (row && row.index !== this.active) this.activate(row.index, false);
  }

  /** Give the keyboard to the table. */
  focus() {
    this.activate(this.active, true);
  }

  close() {
    this.sized.disconnect();
    if (this.frame) cancelAnimationFrame(this.frame);
  }
}
