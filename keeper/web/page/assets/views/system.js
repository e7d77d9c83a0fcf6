// How Keeper itself fares: the head, the node, its own speed, what is held back and what is done beside the blocks.

import { get } from "../api.js";
import { drawSteps, picture } from "../chart.js";
import { card, facts, h, redraw, say, show, table } from "../dom.js";
import { compact, count, micros, short, span, units, utc } from "../format.js";

export const view = {
  title: "System",
  events: ["pulse", "block"],
  every_ms: 1_000,

  load(context, signal) {
    return get("/system", null, signal);
  },

  open(root, data) {
    return new System(root, data);
  },
};

class System {
  constructor(root, data) {
    this.note = h("p", { class: "muted" });
    this.figures = h("dl", { class: "figures" });
    this.parts = Object.fromEntries(["endpoints", "latency", "breakers", "jobs", "balances", "notices", "memory", "more"].map((name) => [name, h("div")]));
    const { endpoints, latency, breakers, jobs, balances, notices, memory, more } = this.parts;
    this.chart = picture(200, "How long steps of the head path took; the table has the same numbers", (svg, width, height) => this.drawLatency(svg, width, height));
    this.chosen = "";
    this.stages = h("div", { class: "assets", role: "group", "aria-label": "Step" });
    this.latency = h("div", null, this.stages, this.chart.element, latency);
    this.noLatency = h("p", { class: "muted" }, "The daemon has measured nothing yet.");
    show(
      root,
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, "System"), this.note),
      h("div", { class: "card" }, this.figures),
      h("div", { class: "cards" }, card("Node endpoints", endpoints), card("Breakers", breakers)),
      h("div", { class: "cards" }, card("Wallet", balances), card("Memory and positions", memory)),
      card("Latency of the head path", this.latency, this.noLatency),
      h("div", { class: "cards" }, card("Notices", notices), card("Jobs", jobs)),
      h("details", { class: "card" }, h("summary", null, "Everything the daemon says"), more),
    );
    this.update(data);
  }

  close() {
    this.chart.close();
  }

  update(data) {
    this.data = data;
    const { pulse, sections = {} } = data;
    const words = { live: `the daemon's word of ${span(pulse.age_s ?? 0)} ago`, stale: `the daemon does not answer since ${pulse.at ? utc(pulse.at) : "an unknown time"}`, missing: "the daemon does not run, or never did over this store" };
    say(this.note, words[pulse.state] ?? pulse.state);
    this.note.classList.toggle("loss", pulse.state !== "live");
    const shown = figures(data, sections);
    redraw(this.figures, shown, () => shown.map(([name, value, small]) => h("div", null, h("dt", null, name), h("dd", null, value, small && h("small", null, ` ${small}`)))));
    const part = (name, draw) => redraw(this.parts[name], withAge(name, sections), () => (sections[name]?.error ? failed(sections[name].error) : draw(sections[name] ?? null, sections)));
    part("endpoints", endpointsOf);
    part("breakers", breakersOf);
    part("jobs", jobsOf);
    part("balances", balancesOf);
    part("notices", noticesOf);
    part("memory", memoryOf);
    if (this.parts.more.parentElement.open || !this.parts.more.hasChildNodes()) show(this.parts.more, tree(sections));
    this.tellLatency(sections.latency);
  }

  tellLatency(latency) {
    this.steps = stepsOf(latency);
    const known = this.steps.length > 0;
    this.latency.hidden = !known;
    this.noLatency.hidden = known;
    if (!known) return;
    if (!this.steps.some((step) => step.name === this.chosen)) this.chosen = this.steps[0].name;
    if (this.stages.children.length !== this.steps.length)
      show(this.stages, this.steps.map((step) => h("button", { type: "button", "data-key": step.name, onclick: () => ((this.chosen = step.name), this.tellLatency(this.data.sections.latency)) }, step.name)));
    for (const button of this.stages.children) button.setAttribute("aria-pressed", String(button.dataset.key === this.chosen));
    this.chart.redraw();
    redraw(this.parts.latency, latency, () =>
      table("Latency by step", [{ name: "Step" }, { name: "Count", number: true }, { name: "Median", number: true }, { name: "99 %", number: true }, { name: "Most", number: true }], this.steps.map((step) => [step.name, count(step.count), micros(step.p50), micros(step.p99), micros(step.max)])),
    );
  }

  drawLatency(svg, width, height) {
    const step = this.steps?.find((one) => one.name === this.chosen);
    if (step) drawSteps(svg, width, height, step.buckets.map((bucket) => ({ name: bucket.name, value: bucket.count })), compact, () => {}, "at most");
  }
}

/** What a part shows: its own section, and what it takes from another; jobs also grow older. */
const withAge = (name, sections) => [sections[name], name === "endpoints" && sections.round_trips, name === "balances" && sections.executor, name === "jobs" && Math.floor(Date.now() / 10_000)];

function figures(data, { heads, executor, round_trips: trips, mode }) {
  const age = data.block ? Date.now() / 1000 - data.block.timestamp : null;
  return [
    ["Newest block", data.block ? count(data.block.number) : "none", age === null ? "" : `${span(age)} old`],
    ["Behind the node", heads?.behind_blocks === null || heads?.behind_blocks === undefined ? "–" : `${count(heads.behind_blocks)} blocks`],
    ["A block took", heads?.took_s ? micros(Math.round(heads.took_s * 1e6)) : "–"],
    ["Blocks", heads ? count(heads.blocks) : "–", heads?.blocks_per_second ? `${heads.blocks_per_second.toPrecision(3)} a second` : ""],
    ["Reorgs", heads ? count(heads.reorgs) : "–", heads?.reorgs ? `deepest ${heads.deepest_reorg}` : ""],
    ["Round trips a block", trips?.per_block ?? "–", trips ? `${compact(trips.total)} in all` : ""],
    ["Mode", mode?.mode?.replaceAll("_", " ") ?? "–", Object.keys(mode?.reasons ?? {}).join(", ")],
    ["Executor", executor ? (executor.liquidates ? "liquidates" : "alerts only") : "–", executor ? `mode ${executor.mode}` : ""],
    ["In flight", executor ? count(executor.pending) : "–"],
  ];
}

function endpointsOf(said, { round_trips: trips }) {
  const endpoints = said?.endpoints ?? [];
  const exchanged = new Map((trips?.by_endpoint ?? []).map((one) => [one.endpoint, one]));
  const names = [...new Set([...endpoints.map((one) => one.url), ...exchanged.keys()])];
  if (!names.length) return unknown();
  return table(
    "Endpoints of the node",
    [{ name: "Endpoint" }, { name: "State" }, { name: "Head", number: true }, { name: "Round trips", number: true }],
    names.map((name) => {
      const one = endpoints.find((other) => other.url === name);
      const { round_trips: number } = exchanged.get(name) ?? {};
      return [h("code", null, name), one ? stateOf(one) : "–", one?.head_number ? count(one.head_number) : "–", number === undefined ? "–" : count(number)];
    }),
  );
}

function stateOf({ connected, excluded, quarantined, quarantine_left_s: left, cooling_s: cooling, last_error: error }) {
  const tag = (kind, text) => h("span", { class: `tag ${kind}` }, text);
  const why = error && h("div", { class: "muted" }, error);
  if (quarantined) return [tag("bad", "quarantined"), h("div", { class: "loss" }, `${quarantined}, for ${span(left)} more`)];
  if (excluded) return [tag("warn", "left out"), why];
  if (cooling > 0) return [tag("warn", `resting ${span(cooling)}`), why];
  return connected ? tag("good", "connected") : [tag("warn", "not connected"), why];
}

function breakersOf(breakers) {
  if (!breakers) return unknown();
  const told = breakers.tripped.map((trip) => h("p", null, h("span", { class: "tag bad" }, trip.breaker), " ", trip.detail, h("span", { class: "muted" }, ` · ${utc(trip.at)} · block ${count(trip.block_number)}`)));
  if (breakers.paused) told.unshift(h("p", null, h("span", { class: "tag warn" }, "paused"), " by a person; `keeper resume` lets transactions go on."));
  return told.length ? told : h("p", null, h("span", { class: "tag good" }, "closed"), " Nothing holds transactions back.");
}

function balancesOf(balances, { executor }) {
  if (!balances || balances.native_wei === null) return h("p", { class: "muted" }, "No wallet: nothing is ever sent.");
  const tokens = balances.tokens.map((one) => [h("code", { title: one.asset }, short(one.asset)), one.decimals === null ? `${one.amount} units` : units(one.amount, one.decimals)]);
  return facts([["Account", executor?.account && h("code", null, executor.account)], ["Native coin", units(balances.native_wei, 18)], ...tokens]);
}

function noticesOf(notices) {
  if (!notices?.outcomes?.length) return h("p", { class: "muted" }, "None since the start.");
  return table("Attempts to deliver", [{ name: "Channel" }, { name: "Outcome" }, { name: "Attempts", number: true }], notices.outcomes.map((one) => [one.channel, one.outcome, count(one.count)]));
}

function jobsOf(jobs) {
  const entries = Object.entries(jobs ?? {});
  if (!entries.length) return unknown();
  return table(
    "What is done now and then",
    [{ name: "Job" }, { name: "Runs", number: true }, { name: "Took", number: true }, { name: "Last" }],
    entries.map(([name, job]) => [
      [name.replaceAll("_", " "), job.error && h("div", { class: "loss" }, job.error)],
      job.failures ? `${count(job.runs)}, ${count(job.failures)} failed` : count(job.runs),
      job.last_s === null ? "–" : micros(Math.round(job.last_s * 1e6)),
      job.last_at === null ? "–" : `${span(Date.now() / 1000 - job.last_at)} ago`,
    ]),
  );
}

function memoryOf(memory) {
  if (!memory) return unknown();
  const mib = (bytes) => (bytes === null ? "–" : `${count(Math.round(bytes / 2 ** 20))} MiB`);
  const rows = Object.keys(memory.positions).map((name) => [name, `${count(memory.positions[name])} positions, ${count(memory.open_episodes[name] ?? 0)} open calls`]);
  return facts([["Resident", mib(memory.resident_bytes)], ["Most ever", mib(memory.peak_bytes)], ...rows]);
}

/** Stages of the head path with their quantiles: the upper bound of the bucket that a quantile falls into. */
function stepsOf(latency) {
  return Object.entries(latency?.stages ?? {})
    .map(([name, { bounds_us: bounds, counts, most_us: max }]) => {
      const total = counts.reduce((sum, one) => sum + one, 0);
      const quantile = (share) => {
        let seen = 0;
        const index = counts.findIndex((number) => (seen += number) >= share * total);
        return index < bounds.length ? Math.min(bounds[index], max) : max;
      };
      const buckets = counts.map((number, i) => ({ name: i < bounds.length ? micros(bounds[i]) : "more", count: number }));
      const first = buckets.findIndex((bucket) => bucket.count > 0);
      const last = buckets.findLastIndex((bucket) => bucket.count > 0);
      return { name, count: total, p50: quantile(0.5), p99: quantile(0.99), max, buckets: buckets.slice(Math.max(0, first - 1), last + 2) };
    })
    .filter((step) => step.count > 0);
}

const unknown = () => h("p", { class: "muted" }, "The daemon has said nothing of it.");

const failed = (error) => h("p", { class: "loss" }, `The daemon cannot tell: ${error}`);

/** Plain values of any shape. */
function tree(value) {
  if (value === null || typeof value !== "object") return String(value ?? "–");
  if (Array.isArray(value)) return value.length ? value.map((one) => h("div", null, tree(one))) : "–";
  return facts(Object.entries(value).map(([name, inner]) => [name.replaceAll("_", " "), tree(inner)]));
}
