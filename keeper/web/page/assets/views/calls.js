// Margin calls: the open ones first; each with what cures it and what was told.

import { Problem, acknowledge, get, mayAcknowledge } from "../api.js";
import { h, link, say, show } from "../dom.js";
import { atLeast, count, health, short } from "../format.js";
import { band, breachTable, demandList, since, status, timeline } from "../words.js";

const PAGE = 100;
const FEW = 3; // so many are shown whole
const DEPTH = ["unknown", "safe", "watch", "call", "urgent", "liquidatable"];

export const view = {
  title: "Margin calls",
  events: ["call", "notice", "block"],
  every_ms: 2_000,

  async load(context, signal) {
    context.status ??= context.query.get("status") === "all" ? "" : "open";
    context.limit ??= PAGE;
    context.may ??= await mayAcknowledge();
    return get("/calls", { status: context.status, limit: context.limit }, signal);
  },

  open(root, data, context) {
    return new Calls(root, data, context);
  },
};

class Calls {
  constructor(root, data, context) {
    this.context = context;
    this.items = new Map();
    this.note = h("p", { class: "muted", role: "status" });
    this.list = h("ul", { class: "calls" });
    this.none = h("p", { class: "empty" });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.widen() }, "Show more");
    this.choices = ["open", ""].map((value) => h("button", { type: "button", onclick: () => this.choose(value) }, value ? "Open" : "All"));
    show(root, h("div", { class: "head" }, h("h1", { tabindex: -1 }, "Margin calls"), this.note), h("div", { class: "chips", role: "group", "aria-label": "Which calls" }, this.choices), this.list, this.none, h("div", null, this.more));
    this.update(data);
  }

  choose(value) {
    this.context.status = value;
    this.context.limit = PAGE;
    history.replaceState(null, "", value ? "/calls" : "/calls?status=all");
    this.context.refresh();
  }

  widen() {
    this.context.limit = Math.min(this.context.limit + PAGE, 1000);
    this.context.refresh();
  }

  update(data) {
    const { status: chosen, limit } = this.context;
    this.choices.forEach((button, i) => button.setAttribute("aria-pressed", String((i === 0) === (chosen === "open"))));
    const calls = [...data.items].sort((a, b) => rank(b) - rank(a) || b.opened_block - a.opened_block);
    say(this.note, `${count(calls.length)}${data.next ? " newest" : ""} ${chosen === "open" ? "open" : "in all"}`);
    this.unfold = calls.length <= FEW;
    const kept = new Map();
    for (const call of calls) {
      const item = this.items.get(call.id) ?? this.item(call);
      if (item.form !== JSON.stringify(call)) this.draw(item, call);
      item.age.textContent = ageOf(call);
      kept.set(call.id, item);
    }
    this.items = kept;
    const wanted = [...kept.values()].map((item) => item.element);
    if (wanted.length !== this.list.children.length || wanted.some((element, i) => this.list.children[i] !== element)) this.list.replaceChildren(...wanted);
    this.none.hidden = calls.length > 0;
    say(this.none, chosen === "open" ? "Nobody is called for margin." : "Nobody was ever called for margin.");
    this.more.hidden = !data.next || limit >= 1000;
  }

  item(call) {
    const head = h("div", { class: "call-head" });
    const body = h("div", { class: "call-body", hidden: !this.unfold });
    const age = h("span", { class: "muted nowrap" });
    const toggle = h("button", { type: "button", class: "plain", "aria-expanded": String(!body.hidden), onclick: () => this.fold(item) }, "details");
    const item = { element: h("li", { class: "card" }, head, body), head, body, age, toggle, form: "" };
    return item;
  }

  fold(item) {
    item.body.hidden = !item.body.hidden;
    item.toggle.setAttribute("aria-expanded", String(!item.body.hidden));
  }

  draw(item, call) {
    item.form = JSON.stringify(call);
    const open = call.status === "open";
    show(
      item.head,
      open ? band(call.band) : status(call.status),
      h("span", null, link(`/positions/${encodeURIComponent(call.position)}`, call.label ?? short(call.account), { class: call.label ? "" : "mono", title: call.position }), h("span", { class: "muted" }, ` ${call.protocol}`)),
      open ? cure(call) : h("span", { class: "cure" }),
      h("span", { class: "nowrap" }, h("span", { class: "muted" }, open ? "told at " : "last at "), h("strong", null, health(call.health_wad)), h("span", { class: "muted" }, ` · deepest ${call.deepest_band}`)),
      h("span", { class: "nowrap" }, item.age, " ", item.toggle),
    );
    item.toggle.setAttribute("aria-label", `Details of the call of ${call.label ?? short(call.account)}`);
    const demanded = open ? [h("div", null, h("h2", null, "What cures it, each by itself"), demandList(call.demands))] : [];
    const breach = open ? [h("div", null, h("h2", null, "Prices that breach it"), breachTable(call.breach_prices))] : [];
    show(item.body, demanded, breach, h("div", null, h("h2", null, "What happened and who was told"), timeline(call), open && this.context.may && this.acknowledging(call)));
  }

  acknowledging(call) {
    const button = h("button", { type: "button" }, "Acknowledge");
    const told = h("span", { class: "muted", role: "status" }, " stops its escalation");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await acknowledge(call.id);
        told.textContent = " acknowledged: it is not escalated any further";
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        told.textContent = ` ${error.message}`;
        button.disabled = false;
      }
    });
    return h("p", null, button, told);
  }
}

/** What is quickest to see: the first demand, and how many others there are. */
function cure({ demands }) {
  if (!demands.length) return h("span", { class: "cure muted" }, "nothing cures it");
  const [{ action, amount, decimals, symbol }, ...others] = demands;
  return h("span", { class: "cure" }, `${action === "repay" ? "Repay" : "Add"} ${atLeast(amount, decimals)} ${symbol}`, others.length > 0 && h("span", { class: "muted" }, ` or ${others.length} other ${others.length === 1 ? "way" : "ways"}`));
}

const rank = (call) => (call.status === "open" ? 10 + DEPTH.indexOf(call.band) : 0);

function ageOf(call) {
  const opened = call.steps[0]?.timestamp;
  const last = call.steps[call.steps.length - 1]?.timestamp;
  if (opened === undefined) return "";
  return call.status === "open" ? `opened ${since(opened)}` : `closed ${since(last)}`;
}
