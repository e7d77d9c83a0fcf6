// One position: how it stands, what cures it, which prices breach it, how its health went, and what was told.

import { get } from "../api.js";
import { drawHistory, picture } from "../chart.js";
import { card, copyButton, facts, h, redraw, s, say, show } from "../dom.js";
import { count, health, money, percent, short, span, utc, clock, wadToNumber } from "../format.js";
import { drawBar, healthBar, placeOf, WIDTH } from "../healthbar.js";
import { onWatched, toggleWatched, watches } from "../watched.js";
import { band, breachTable, demandList, holdings, status, timeline } from "../words.js";

export const view = {
  title: "Position",
  events: ["block", "call", "notice", "transaction"],
  every_ms: 1_500,

  async load({ argument }, signal) {
    const path = `/positions/${encodeURIComponent(argument)}`;
    const [position, history] = await Promise.all([get(path, null, signal), get(`${path}/history`, null, signal)]);
    return { position, history };
  },

  open(root, data, context) {
    return new Position(root, data, context);
  },
};

/** What only an open position has is hidden for one that is no more: then its story remains. */
class Position {
  constructor(root, data, { title }) {
    const { position } = data;
    this.account = position.account;
    title(position.label ?? short(position.account));
    this.watch = h("button", { type: "button", onclick: () => toggleWatched(this.account) });
    this.where = h("span", { class: "muted" });
    this.factor = h("div", { class: "factor" });
    this.band = h("div");
    this.bar = healthBar();
    this.legend = h("div", { class: "legend", "aria-hidden": "true" });
    this.lines = h("p", { class: "muted" });
    this.readout = h("p", { class: "readout" });
    this.chart = picture(220, "History of this position's health", (svg, width, height) => this.drawChart(svg, width, height));
    this.noChart = h("p", { class: "muted", hidden: true }, "Nothing is kept of it yet.");
    this.parts = Object.fromEntries(["demands", "breaches", "collateral", "debt", "metrics", "outlook", "story", "native"].map((name) => [name, h("div")]));
    const { demands, breaches, collateral, debt, metrics, outlook, story, native } = this.parts;
    show(
      root,
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, position.label ?? h("code", null, position.account)), this.watch, this.where),
      h("div", { class: "card summary standing" }, h("div", null, this.factor, this.band), h("div", { class: "scale" }, this.bar.element, this.legend, this.lines)),
      h("div", { class: "cards standing" }, card("What cures it, each by itself", demands), card("Prices that breach it, each by itself", breaches)),
      h("div", { class: "cards standing" }, card("Collateral", collateral), card("Debt", debt)),
      card("Health", this.chart.element, this.readout, this.noChart),
      h("div", { class: "cards" }, card("Calls and notices", story), h("div", { class: "card standing" }, h("h2", null, "Account metrics"), metrics, outlook, native)),
    );
    this.ends = onWatched(() => this.tellWatched());
    this.standing = [...root.querySelectorAll(".standing")];
    this.tellWatched();
    this.update(data);
  }

  close() {
    this.ends();
    this.chart.close();
  }

  tellWatched() {
    const on = watches(this.account);
    this.watch.setAttribute("aria-pressed", String(on));
    this.watch.textContent = on ? "★ Watched" : "☆ Watch";
  }

  update({ position, history }) {
    this.history = history;
    for (const part of this.standing) part.hidden = !position.open;
    this.tellWhere(position);
    if (position.open) this.tellStanding(position);
    this.tellStory(position.episodes);
    const drawn = history.points.some((point) => point.health_wad !== null);
    this.noChart.hidden = drawn;
    this.chart.element.toggleAttribute("hidden", !drawn);
    this.chart.redraw();
    this.tellPoint(null);
  }

  tellWhere(position) {
    const market = position.market_name ? ` · ${position.market_name}` : "";
    const account = position.label ? [h("code", null, position.account), " "] : [];
    const at = position.open ? `block ${count(position.block_number)}` : "nothing is held or owed any more";
    const words = ` ${position.protocol}${market} · ${at}`;
    if (!this.where.hasChildNodes()) show(this.where, account, copyButton(position.account, "the account"), h("span"));
    say(this.where.lastChild, words);
  }

  tellStanding(position) {
    const decimals = position.metrics?.base_decimals;
    const { demands, breaches, collateral, debt, metrics, outlook, native } = this.parts;
    this.factor.textContent = health(position.health_wad);
    show(this.band, band(position.band));
    this.tellLines(position);
    redraw(demands, position.demands, () => (position.demands.length || position.band !== "safe" ? demandList(position.demands) : h("p", { class: "muted" }, "Nothing: it is at its target.")));
    redraw(breaches, position.breach_prices, () => breachTable(position.breach_prices));
    redraw(collateral, position.collaterals, () => holdings("Collateral", position.collaterals, decimals, true));
    redraw(debt, [position.debts, position.stale_assets, position.unpriced_assets], () => [holdings("Debt", position.debts, decimals, false), oddities(position)]);
    redraw(metrics, position.metrics, () => metricsOf(position.metrics, position.currency));
    redraw(outlook, position.outlook, () => outlookOf(position.outlook));
    redraw(native, position.native, () => nativeOf(position.native, native.querySelector("details")?.open));
  }

  tellLines({ health_wad, band: name, call_wad, urgent_wad, watch_wad, target_wad }) {
    const [value, call, urgent] = [health_wad, call_wad, urgent_wad].map(wadToNumber);
    drawBar(this.bar, value, name, call, urgent);
    const marks = [["1", 1, "middle"], ["call", call, "start"]].filter(([, at]) => at !== null);
    show(this.legend, h("span", { class: "unseen" }, ""), s("svg", null, marks.map(([text, at, anchor]) => s("text", { x: `${(placeOf(at) / WIDTH) * 100}%`, y: 13, "text-anchor": anchor }, text))));
    const lines = [["watched below", watch_wad], ["called below", call_wad], ["urgent below", urgent_wad], ["cured at", target_wad]].filter(([, wad]) => wad);
    this.lines.textContent = `${lines.map(([text, wad]) => `${text} ${health(wad, 3)}`).join(" · ")} · liquidatable below 1`;
  }

  tellStory(episodes) {
    const { story } = this.parts;
    const first = !story.hasChildNodes();
    const unfolded = new Set([...story.querySelectorAll("details[open]")].map((one) => one.dataset.call));
    const open = (episode, i) => (first ? i === 0 : unfolded.has(episode.id));
    const one = (episode, i) =>
      h("details", { open: open(episode, i), "data-call": episode.id }, h("summary", null, status(episode.status), ` opened at block ${count(episode.opened_block)}, deepest ${episode.deepest_band}`), timeline(episode));
    redraw(story, episodes, () => (episodes.length ? episodes.map(one) : h("p", { class: "muted" }, "It was never called.")));
  }

  drawChart(svg, width, height) {
    const points = this.history.points.map((point) => ({ at: point.timestamp, value: wadToNumber(point.health_wad), point }));
    const lines = this.history.lines ?? {};
    const rules = [["watch", lines.watch_wad], ["call", lines.call_wad], ["urgent", lines.urgent_wad]].filter(([, wad]) => wad).map(([name, wad]) => ({ name, value: wadToNumber(wad) }));
    const days = points.length > 1 && points[points.length - 1].at - points[0].at > 86_400;
    const nameOfTime = (at) => (days ? utc(at).slice(5, 16) : clock(at));
    drawHistory(svg, width, height, points, [...rules, { name: "breach", value: 1 }], nameOfTime, (found) => this.tellPoint(found?.point ?? null));
  }

  tellPoint(point) {
    const last = this.history.points[this.history.points.length - 1];
    const told = point ?? last;
    this.readout.textContent = told ? `${health(told.health_wad, 6)} at block ${count(told.block_number)}, ${utc(told.timestamp)}` : "";
  }
}

function oddities({ stale_assets: stale, unpriced_assets: unpriced }) {
  const told = [];
  if (stale?.length) told.push(h("p", { class: "loss" }, `Stale price: ${stale.join(", ")}`));
  if (unpriced?.length) told.push(h("p", { class: "loss" }, `No usable price: ${unpriced.join(", ")}`));
  return told;
}

function metricsOf(metrics, currency) {
  if (!metrics) return h("p", { class: "muted" }, "Not known: an asset has no usable price.");
  const value = (name) => `${money(metrics[name], metrics.base_decimals)}${currency ? ` ${currency}` : ""}`;
  const ratio = (name) => (metrics[name] === null ? null : percent(wadToNumber(metrics[name]), 2, false));
  return facts([
    ["Equity", value("equity_value")],
    ["Buffer above maintenance", metrics.collateral_buffer_value === null ? null : `${value("collateral_buffer_value")}${metrics.collateral_buffer_wad === null ? "" : ` (${ratio("collateral_buffer_wad")} of equity)`}`],
    ["Maintenance margin", metrics.maintenance_margin_value === null ? null : value("maintenance_margin_value")],
    ["Initial margin", metrics.initial_margin_value === null ? null : value("initial_margin_value")],
    ["Effective leverage", metrics.effective_leverage_wad === null ? null : `${health(metrics.effective_leverage_wad, 2)}×`],
    ["Equity utilization", ratio("equity_utilization_wad")],
    ["Most that liquidators take", metrics.liquidation_penalty_value === null ? null : value("liquidation_penalty_value")],
    ["Concentration", ratio("concentration_wad")],
  ]);
}

function outlookOf(outlook) {
  if (!outlook) return null;
  const likely = outlook.hours_until_then === null ? "not foreseeable" : span(outlook.hours_until_then * 3600);
  return [
    h("h2", null, "Outlook"),
    facts([
      ["Volatility of its health", `${percent(outlook.sigma_day, 2, false)} a day`],
      [`Breach within ${outlook.horizon_hours} h`, `${percent(outlook.breach_probability, 2, false)} likely`],
      [`Until ${percent(outlook.called_at_probability, 0, false)} likely`, likely],
    ]),
  ];
}

function nativeOf(native, open) {
  const entries = Object.entries(native ?? {});
  if (!entries.length) return null;
  return h("details", { open }, h("summary", null, "As the contract says it"), facts(entries.map(([name, value]) => [name, h("code", null, String(value))])));
}
