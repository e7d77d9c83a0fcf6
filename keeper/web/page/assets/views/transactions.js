// What we decided to do on chain, newest first: how far each came, with which transactions, and what it brought.

import { get } from "../api.js";
import { copyButton, facts, h, link, say, show } from "../dom.js";
import { count, money, short, utc } from "../format.js";
import { since } from "../words.js";

const PAGE = 100;
const STAGES = ["planned", "broadcast", "included", "confirmed"];
const ENDS = { failed: 2, abandoned: 1, reorged: 2 }; // the stage at which it left the road

export const view = {
  title: "Transactions",
  events: ["transaction", "block"],
  every_ms: 2_000,

  load(context, signal) {
    context.limit ??= PAGE;
    return get("/transactions", { limit: context.limit }, signal);
  },

  open(root, data, context) {
    return new Transactions(root, data, context);
  },
};

class Transactions {
  constructor(root, data, context) {
    this.context = context;
    this.items = new Map();
    this.note = h("p", { class: "muted", role: "status" });
    this.list = h("ul", { class: "calls" });
    this.none = h("p", { class: "empty" }, "We never signed a transaction.");
    this.more = h("button", { type: "button", hidden: true, onclick: () => ((context.limit = Math.min(context.limit + PAGE, 1000)), context.refresh()) }, "Show more");
    show(root, h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Transactions"), this.note), this.none, this.list, h("div", null, this.more));
    this.update(data);
  }

  update(data) {
    const intents = byIntent(data.items);
    say(this.note, `${count(data.items.length)} signed for ${count(intents.length)} purposes${data.next ? ", the newest" : ""}`);
    const kept = new Map();
    for (const intent of intents) {
      const form = JSON.stringify(intent);
      let item = this.items.get(intent.id);
      if (item?.form !== form) {
        const open = item?.element.querySelector("details")?.open ?? false;
        item = { form, element: draw(intent, open) };
      }
      kept.set(intent.id, item);
    }
    this.items = kept;
    const wanted = [...kept.values()].map((item) => item.element);
    if (wanted.length !== this.list.children.length || wanted.some((element, i) => this.list.children[i] !== element)) this.list.replaceChildren(...wanted);
    this.none.hidden = intents.length > 0;
    this.more.hidden = !data.next || this.context.limit >= 1000;
  }
}

/** Attempts by what they were for; the newest purpose first, its attempts in the order they were signed. */
export function byIntent(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.intent)) found.set(row.intent, { id: row.intent, attempts: [], at: 0 });
    const intent = found.get(row.intent);
    intent.attempts.push(row);
    intent.at = Math.max(intent.at, row.created_at);
  }
  for (const intent of found.values()) intent.attempts.sort((a, b) => a.created_at - b.created_at);
  return [...found.values()].sort((a, b) => b.at - a.at);
}

function draw({ attempts, at }, open) {
  const last = attempts[attempts.length - 1];
  const who = last.position ? link(`/positions/${encodeURIComponent(last.position)}`, last.label ?? short(last.account), { class: "mono", title: last.position }) : h("span", { class: "muted", title: last.cause }, last.cause.replace(/0x[0-9a-fA-F]{40,}/g, short));
  return h(
    "li",
    { class: "card" },
    h(
      "div",
      { class: "intent" },
      h("div", null, h("strong", null, last.kind), " ", who, h("div", { class: "muted" }, last.protocol ? `${last.protocol} · ` : "", h("span", { title: utc(at) }, since(at)), ` · nonce ${last.nonce}`)),
      life(last),
      result(last),
      h("details", { open }, h("summary", null, attempts.length === 1 ? "1 transaction" : `${attempts.length} transactions`), attempts.map(attempt)),
    ),
  );
}

/** The road of an intent: planned, broadcast, included, confirmed, or where it left it. */
function life({ intent_status: state, trail = [] }) {
  const ended = ENDS[state];
  const reached = ended ?? STAGES.indexOf(state);
  const times = Object.fromEntries(trail.map((step) => [step.event, step.at]));
  const stages = ended === undefined ? STAGES : [...STAGES.slice(0, ended), state];
  return h(
    "ol",
    { class: "life", "aria-label": `Status: ${state}` },
    stages.map((name, i) => {
      const classes = [i <= reached && "done", i === reached && "now", name === state && ended !== undefined && "ended"].filter(Boolean).join(" ");
      return h("li", { class: classes, title: times[name] ? utc(times[name]) : null, "aria-current": name === state ? "step" : null }, name);
    }),
  );
}

function result({ kind, profit_expected: expected, profit_realized: realized, base_decimals: decimals, reason, error, intent_status: state }) {
  if (expected === null && realized === null) return h("div", { class: "result muted" }, reason ?? error ?? (kind === "liquidation" ? "profit not known" : ""));
  const shown = realized ?? expected;
  const negative = String(shown).startsWith("-");
  return h(
    "div",
    { class: "result" },
    h("div", { class: `sum ${realized === null ? "" : negative ? "loss" : "gain"}` }, `${negative ? "" : "+"}${money(shown, decimals ?? 0)}`),
    h("div", { class: "muted" }, realized === null ? `expected${state === "planned" || state === "broadcast" ? "" : ", never realized"}` : `realized; expected ${money(expected, decimals ?? 0)}`),
    reason && h("div", { class: "muted" }, reason),
  );
}

const gwei = (wei) => `${(Number(wei) / 1e9).toPrecision(4)} gwei`;

function attempt(row) {
  return facts([
    ["Transaction", [h("code", null, row.tx_hash), " ", copyButton(row.tx_hash, "the hash")]],
    ["Status", row.purpose === "cancel" ? `${row.status} (frees the nonce)` : row.status],
    ["Fees", `at most ${gwei(row.max_fee_wei)}, ${gwei(row.max_priority_fee_wei)} of it to the builder, gas up to ${count(row.gas_limit)}`],
    ["Signed", utc(row.created_at)],
    ["Broadcast", row.broadcast_at === null ? "not yet" : utc(row.broadcast_at)],
    ["Error", row.error],
  ]);
}
