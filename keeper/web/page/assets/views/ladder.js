// The liquidation ladder: how much collateral becomes liquidatable as the price of one asset falls, step by step.

import { get } from "../api.js";
import { drawSteps, picture } from "../chart.js";
import { h, redraw, say, show, table } from "../dom.js";
import { about, compact, count, percent, price } from "../format.js";

export const view = {
  title: "Liquidation ladder",
  events: ["block"],
  every_ms: 15_000, // every position is judged at every step

  load(context, signal) {
    return get("/ladder", null, signal);
  },

  open(root, data, context) {
    return new Ladder(root, data, context);
  },
};

class Ladder {
  constructor(root, data, { query }) {
    this.chosen = query.get("asset") ?? "";
    this.note = h("p", { class: "muted" });
    this.assets = h("div", { class: "assets", role: "group", "aria-label": "Asset" });
    this.heading = h("h2");
    this.readout = h("p", { class: "readout" });
    this.chart = picture(300, "Collateral that becomes liquidatable by price step; the table below has the same numbers", (svg, width, height) => this.drawChart(svg, width, height));
    this.rows = h("div");
    this.none = h("p", { class: "empty" }, "No asset whose fall would make anything liquidatable.");
    this.body = h("div", { class: "card" }, this.heading, this.readout, this.chart.element, this.rows);
    show(
      root,
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Liquidation ladder"), this.note),
      h("p", { class: "muted" }, "Collateral in positions that become open to liquidation when this one price has fallen so far and all others stand still; beyond what is open already."),
      this.assets,
      this.none,
      this.body,
    );
    this.update(data);
  }

  close() {
    this.chart.close();
  }

  update(data) {
    this.data = data;
    say(this.note, data.block ? `at block ${count(data.block.number)}` : "");
    const assets = assetsOf(data);
    this.known = assets;
    if (!assets.some((one) => one.key === this.chosen)) this.chosen = assets[0]?.key ?? "";
    if (this.assets.children.length !== assets.length || [...this.assets.children].some((button, i) => button.dataset.key !== assets[i].key))
      show(this.assets, assets.map((one) => h("button", { type: "button", "data-key": one.key, onclick: () => this.choose(one.key) }, one.name)));
    this.none.hidden = assets.length > 0;
    this.body.hidden = assets.length === 0;
    this.draw();
  }

  choose(key) {
    this.chosen = key;
    history.replaceState(null, "", `/ladder?${new URLSearchParams({ asset: key })}`);
    this.draw();
  }

  draw() {
    for (const button of this.assets.children) button.setAttribute("aria-pressed", String(button.dataset.key === this.chosen));
    const asset = this.known.find((one) => one.key === this.chosen);
    if (!asset) return;
    this.asset = asset;
    say(this.heading, asset.price === null ? asset.name : `${asset.name}, now at ${price(asset.price)}`);
    this.tell(null);
    this.chart.redraw();
    redraw(this.rows, asset, () =>
      table(
        `Liquidatable when ${asset.name} falls`,
        [{ name: "Price move" }, { name: "Price", number: true }, { name: "Positions", number: true }, { name: "Collateral", number: true }, { name: "Debt", number: true }],
        asset.steps.map((step) => [percent(step.move, 0), price(step.price), count(step.positions), about(step.collateral), about(step.debt)]),
      ),
    );
  }

  drawChart(svg, width, height) {
    const steps = this.asset.steps.map((step) => ({ name: percent(step.move, 0), value: step.collateral }));
    drawSteps(svg, width, height, steps, compact, (i) => this.tell(i), `price of ${this.asset.name}`);
  }

  tell(i) {
    const step = i === null ? null : this.asset.steps[i];
    this.readout.textContent = step ? `${percent(step.move, 0)}: ${count(step.positions)} positions, collateral ${about(step.collateral)}, debt ${about(step.debt)}` : "";
  }
}

/** The assets with their steps as numbers for display, the one with most at stake first. */
function assetsOf(data) {
  const assets = data.assets.map((one) => ({
    key: one.protocol ? `${one.protocol}:${one.asset}` : one.asset,
    name: one.asset === "*" ? `${one.symbol} · ${one.protocol}` : one.protocol && data.assets.some((other) => other !== one && other.symbol === one.symbol) ? `${one.symbol} · ${one.protocol}` : one.symbol,
    price: one.price,
    steps: one.steps.map((step) => ({ move: step.move, price: step.price, positions: step.positions, collateral: Number(step.collateral_value), debt: Number(step.debt_value) })),
  }));
  const stake = (one) => one.steps[one.steps.length - 1]?.collateral ?? 0;
  return assets.sort((a, b) => stake(b) - stake(a));
}
