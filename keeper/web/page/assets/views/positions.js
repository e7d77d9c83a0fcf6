// Every open position, the nearest to liquidation first: filtered and sorted here, from one compact table.

import { get } from "../api.js";
import { enabled, possible, setEnabled } from "../alerts.js";
import { h, say, show } from "../dom.js";
import { about, count, health, healthNumber, short } from "../format.js";
import { Grid } from "../grid.js";
import { drawBar, healthBar } from "../healthbar.js";
import { onWatched, toggleWatched, watchedCount, watches } from "../watched.js";

const BANDS = ["liquidatable", "urgent", "call", "watch", "safe", "unknown"];
const NOTHING = { id: [], protocol: [], band: [], health: [], collateral_value: [], debt_value: [] }; // before the first block
const EXACT = 100; // so many, the nearest to liquidation, are shown to the last digit; the table is of floats
const LARGE = 5_000; // from so many rows on, the table is asked for less often than every block

export const view = {
  title: "Positions",
  events: ["block"],
  every_ms: 2_000,

  async load(context, signal) {
    const [table, nearest] = await Promise.all([get("/positions/table", null, signal), get("/positions", { limit: EXACT }, signal)]);
    this.every_ms = table.rows > LARGE ? 10_000 : 2_000;
    const same = table.block?.hash === nearest.block?.hash;
    return { table, exact: same ? new Map(nearest.items.map((row) => [row.position, row.health_wad])) : new Map() };
  },

  open(root, data, context) {
    return new Positions(root, data, context);
  },
};

class Positions {
  constructor(root, data, { query, navigate }) {
    this.navigate = navigate;
    this.filter = {
      band: query.get("band") ?? "",
      protocol: query.get("protocol") ?? "",
      text: query.get("account") ?? query.get("q") ?? "",
      watched: query.get("watched") === "1",
      sort: query.get("sort") ?? "health",
    };
    this.order = new Uint32Array(0);
    this.grid = new Grid({
      label: "Open positions",
      columns: [
        { name: "Band", class: "band-cell" },
        { name: "Health", class: "health", sort: "health" },
        { name: "breach · urgent · call", class: "bar-cell" },
        { name: "Account", class: "who", sort: "account" },
        { name: "Protocol", class: "protocol" },
        { name: "Collateral", class: "number collateral", sort: "collateral" },
        { name: "Debt", class: "number debt", sort: "debt" },
        { name: "Watched", class: "star-cell", unseen: true },
      ],
      make: () => this.makeCells(),
      fill: (cells, i) => this.fillCells(cells, this.order[i]),
      open: (i) => this.navigate(hrefOf(this.table.id[this.order[i]])),
      onSort: (key) => this.sortBy(key),
      onKey: (key, i) => key === "w" && toggleWatched(accountOf(this.table, this.order[i])),
    });
    this.head = h("p", { class: "muted" });
    this.told = h("p", { class: "unseen", role: "status" }); // how many are shown; not at every block
    this.chipOf = ["", ...BANDS].map((band) => {
      const number = h("span", { class: "tally" });
      const word = band ? h("span", { class: `band ${band}` }, band) : "All";
      return { band, number, button: h("button", { type: "button", onclick: () => this.change({ band }) }, word, number) };
    });
    this.search = h("input", { type: "search", class: "search", placeholder: "Account, label or position   /", "aria-label": "Filter by account, label or position", value: this.filter.text, autocomplete: "off", spellcheck: "false", oninput: () => this.change({ text: this.search.value }), onkeydown: (event) => event.key === "ArrowDown" && (event.preventDefault(), this.grid.focus()) });
    this.protocol = h("select", { "aria-label": "Protocol", onchange: () => this.change({ protocol: this.protocol.value }) });
    this.watched = h("button", { type: "button", "aria-pressed": String(this.filter.watched), onclick: () => this.change({ watched: !this.filter.watched }) });
    this.alerts = h("button", { type: "button", hidden: !possible(), onclick: () => this.toggleAlerts() });
    this.none = h("p", { class: "empty", hidden: true });
    show(
      root,
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Positions"), this.head),
      h("div", { class: "chips", role: "group", "aria-label": "Band" }, this.chipOf.map((chip) => chip.button)),
      h("div", { class: "filters" }, this.search, this.protocol, this.watched, this.alerts),
      this.told,
      this.none,
      this.grid.element,
    );
    this.ends = onWatched(() => this.apply());
    this.update(data);
    this.nameAlerts();
    if (query.get("focus") === "search") this.search.focus();
  }

  close() {
    this.ends();
    this.grid.close();
  }

  update({ table, exact }) {
    this.exact = exact;
    if (table === this.asked) return this.grid.draw(true);
    this.asked = table;
    const held = this.table && this.order.length ? this.table.id[this.order[this.grid.active]] : null;
    this.table = table.rows ? table : { ...table, ...NOTHING };
    table = this.table;
    this.words = null;
    this.health = Float64Array.from(table.health ?? [], (value) => value ?? Infinity);
    this.tellProtocols();
    this.apply(held);
  }

  change(part) {
    Object.assign(this.filter, part);
    const { band, protocol, text, watched, sort } = this.filter;
    const query = new URLSearchParams(Object.entries({ band, protocol, q: text, watched: watched ? "1" : "", sort: sort === "health" ? "" : sort }).filter(([, value]) => value));
    history.replaceState(null, "", `/positions${query.size ? `?${query}` : ""}`);
    this.grid.element.scrollTop = 0;
    this.apply();
  }

  sortBy(key) {
    const first = key === "health" || key === "account" ? key : `-${key}`; // of values the largest, of healths the least
    const second = first === key ? `-${key}` : key;
    this.change({ sort: this.filter.sort === first ? second : first });
  }

  /** held: the position that the keyboard is on. */
  apply(held = null) {
    const { table, filter } = this;
    const picked = this.pick();
    this.order = this.sorted(picked);
    const active = held === null ? 0 : this.order.findIndex((row) => table.id[row] === held);
    this.grid.sortedBy(filter.sort);
    this.grid.update(this.order.length, Math.max(0, active));
    const all = this.order.length === table.rows;
    say(this.told, all ? "Every position is shown" : `${count(this.order.length)} of ${count(table.rows)} are shown`);
    const at = table.block ? ` at block ${count(table.block.number)}` : "";
    say(this.head, `${all ? "" : `${count(this.order.length)} of `}${count(table.rows)}${at}`);
    this.none.hidden = this.order.length > 0;
    this.grid.element.hidden = this.order.length === 0;
    show(this.none, table.rows ? "No position matches. " : "No open position is indexed yet.", table.rows > 0 && h("button", { type: "button", onclick: () => this.clear() }, "Show all"));
    this.watched.setAttribute("aria-pressed", String(filter.watched));
    say(this.watched, `★ Watched ${watchedCount()}`);
  }

  clear() {
    this.search.value = this.protocol.value = "";
    this.change({ band: "", protocol: "", text: "", watched: false });
  }

  /** Rows that pass the filters; counts bands of all that pass the others, for the chips. */
  pick() {
    const { table, filter } = this;
    const protocol = table.protocols.indexOf(filter.protocol);
    const text = filter.text.trim().toLowerCase();
    if (text) this.words ??= table.id.map((id, i) => `${id} ${table.label?.[i] ?? ""}`.toLowerCase());
    const tally = new Array(table.bands.length).fill(0);
    const wanted = table.bands.indexOf(filter.band);
    const found = [];
    for (let i = 0; i < table.rows; i += 1) {
      if (filter.protocol && table.protocol[i] !== protocol) continue;
      if (text && !this.words[i].includes(text)) continue;
      if (filter.watched && !watches(accountOf(table, i))) continue;
      tally[table.band[i]] += 1;
      if (!filter.band || table.band[i] === wanted) found.push(i);
    }
    this.tellBands(tally);
    return Uint32Array.from(found);
  }

  sorted(rows) {
    const { table, health } = this;
    const descending = this.filter.sort.startsWith("-");
    const key = this.filter.sort.replace("-", "");
    const values = { health, collateral: table.collateral_value, debt: table.debt_value }[key];
    const compare = values ? (a, b) => (values[a] ?? -1) - (values[b] ?? -1) || a - b : (a, b) => (accountOf(table, a).toLowerCase() < accountOf(table, b).toLowerCase() ? -1 : 1);
    rows.sort(descending ? (a, b) => compare(b, a) : compare);
    return rows;
  }

  /** The chips stay the same elements: what is being clicked must not be replaced under the finger. */
  tellBands(tally) {
    const { table, filter } = this;
    for (const { band, button, number } of this.chipOf) {
      const found = band ? (tally[table.bands.indexOf(band)] ?? 0) : tally.reduce((sum, one) => sum + one, 0);
      say(number, count(found));
      button.setAttribute("aria-pressed", String(filter.band === band));
      button.hidden = band === "unknown" && !found && filter.band !== band;
    }
  }

  tellProtocols() {
    const names = this.table.protocols;
    if (this.protocol.options.length === names.length + 1) return;
    show(this.protocol, h("option", { value: "" }, "Every protocol"), names.map((name) => h("option", { value: name }, name)));
    this.protocol.value = names.includes(this.filter.protocol) ? this.filter.protocol : "";
    this.protocol.hidden = names.length < 2;
  }

  nameAlerts() {
    const on = enabled();
    this.alerts.setAttribute("aria-pressed", String(on));
    say(this.alerts, on ? "Notifying" : "Notify me");
    this.alerts.title = "A notification of this browser when a watched account's position comes into another band";
  }

  async toggleAlerts() {
    const wanted = !enabled();
    const on = await setEnabled(wanted);
    this.nameAlerts();
    if (wanted && !on) say(this.alerts, "The browser forbids it");
  }

  // --- a row ---

  makeCells() {
    const cell = (kind, ...children) => h("div", { class: `cell ${kind}`, role: "gridcell" }, children);
    const bar = healthBar();
    const band = h("span", { class: "band" });
    const label = h("span", { class: "label" });
    const who = h("a", { class: "mono", tabindex: -1 });
    const star = h("button", { type: "button", class: "star", tabindex: -1 });
    star.addEventListener("click", (event) => {
      event.stopPropagation();
      toggleWatched(star.dataset.account);
    });
    return {
      band: Object.assign(cell("band-cell", band), { value: band }),
      health: cell("health"),
      bar: Object.assign(cell("bar-cell", bar.element), { value: bar }),
      who: Object.assign(cell("who", label, who), { label, value: who }),
      protocol: cell("protocol muted"),
      collateral: cell("number collateral"),
      debt: cell("number debt"),
      star: Object.assign(cell("star-cell", star), { value: star }),
    };
  }

  fillCells(cells, row) {
    const { table } = this;
    const band = table.bands[table.band[row]];
    const account = accountOf(table, row);
    const label = table.label?.[row] ?? "";
    const at = (lines) => (Array.isArray(lines) ? lines[row] : lines);
    say(cells.band.value, band);
    cells.band.value.className = `band ${band}`;
    const wad = this.exact.get(table.id[row]);
    say(cells.health, wad === undefined ? healthNumber(table.health[row], 3) : health(wad));
    drawBar(cells.bar.value, table.health[row], band, at(table.call), at(table.urgent));
    say(cells.who.label, label);
    cells.who.label.hidden = !label;
    say(cells.who.value, label || innerWidth <= 1150 ? short(account) : account);
    cells.who.value.setAttribute("href", hrefOf(table.id[row]));
    cells.who.title = table.id[row];
    say(cells.protocol, table.protocols[table.protocol[row]]);
    say(cells.collateral, about(table.collateral_value[row]));
    say(cells.debt, about(table.debt_value[row]));
    const watched = watches(account);
    const star = cells.star.value;
    star.dataset.account = account;
    say(star, watched ? "★" : "☆");
    star.setAttribute("aria-pressed", String(watched));
    star.setAttribute("aria-label", `Watch ${label || short(account)}`);
  }
}

const hrefOf = (id) => `/positions/${encodeURIComponent(id)}`;

/** The account in "protocol:account[:market]". */
function accountOf(table, row) {
  return table.account ? table.account[row] : table.id[row].split(":")[1];
}

