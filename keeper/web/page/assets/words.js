// Parts that several views share: bands, demands, breach prices, episodes and their notices.

import { copyButton, h, table } from "./dom.js";
import { exact, health, money, percent, price, span, units, utc } from "./format.js";

export const band = (name) => h("span", { class: `band ${name}` }, name);

export const when = (seconds) => h("time", { datetime: new Date(seconds * 1000).toISOString() }, utc(seconds));

export const since = (seconds) => `${span(Date.now() / 1000 - seconds)} ago`;

/** An account or a hash in full, with a button that copies it. */
export const whole = (text, what) => [h("code", null, text), " ", copyButton(text, what)];

const STATUS = { open: "warn", cured: "good", repaid: "good", liquidated: "bad", withdrawn: "" };
const DELIVERY = { sent: "good", dead: "bad", pending: "warn", sending: "warn", held: "" };

export const status = (name) => h("span", { class: `tag ${STATUS[name] ?? ""}` }, name);

const ACTIONS = { repay: "Repay", add_collateral: "Add" };

/** What cures a position: each line by itself is enough. Amounts are exact, and copied exactly. */
export function demandList(demands) {
  if (!demands.length) return h("p", { class: "muted" }, "Nothing cures it, or nobody can say what would.");
  return demands.map((demand, i) => {
    const amount = exact(demand.amount, demand.decimals);
    return h(
      "div",
      { class: "demand" },
      h("span", { class: "amount" }, i > 0 && h("span", { class: "or" }, "or "), `${ACTIONS[demand.action] ?? demand.action} ${amount} ${demand.symbol}`),
      copyButton(amount, `${amount} ${demand.symbol}`),
      h("span", { class: "muted" }, `health then ${health(demand.resulting_health_wad)} · `, h("code", null, demand.asset)),
    );
  });
}

export function breachTable(breaches) {
  if (!breaches.length) return h("p", { class: "muted" }, "No single price breaches it.");
  return table(
    "Prices that breach",
    [{ name: "Asset" }, { name: "Breaches at", number: true }, { name: "Move", number: true }],
    breaches.map((breach) => [h("span", { title: breach.asset }, breach.symbol), h("span", { title: breach.price }, price(breach.price)), percent(breach.move)]),
  );
}

/** Steps of an episode and its notices, newest first. */
export function timeline(episode) {
  const steps = episode.steps.map((step) => ({ at: step.timestamp, element: stepItem(step) }));
  const notices = episode.notices.map((notice) => ({ at: notice.sent_at ?? notice.created_at, element: noticeItem(notice) }));
  const losses = episode.losses.map((loss) => ({ at: episode.steps[episode.steps.length - 1]?.timestamp ?? 0, element: lossItem(loss) }));
  const entries = [...steps, ...losses, ...notices].map((entry, i) => ({ ...entry, i })).sort((a, b) => b.at - a.at || b.i - a.i);
  return h("ol", { class: "timeline" }, entries.map((entry) => entry.element));
}

function stepItem(step) {
  const prices = step.prices.map((one) => `${one.symbol ?? one.asset} ${price(one.price)}`).join(" · ");
  return h(
    "li",
    { class: step.event },
    h("strong", null, step.event),
    " at health ",
    health(step.health_wad),
    " ",
    band(step.band),
    h("div", { class: "muted" }, when(step.timestamp), ` · block ${step.block_number}`),
    prices && h("div", { class: "muted" }, prices),
  );
}

function noticeItem(notice) {
  const tries = notice.attempts > 1 ? ` after ${notice.attempts} attempts` : "";
  return h(
    "li",
    { class: "notice" },
    `told ${notice.event} on ${notice.channel} `,
    h("span", { class: `tag ${DELIVERY[notice.status] ?? ""}` }, notice.status),
    tries,
    h("div", { class: "muted" }, when(notice.sent_at ?? notice.created_at)),
    notice.error && h("div", { class: "loss" }, notice.error),
  );
}

function lossItem(loss) {
  return h(
    "li",
    { class: "liquidated" },
    `${loss.seized_amount ?? `${loss.seized} units`} seized for ${loss.repaid_amount ?? `${loss.repaid} units`} repaid`,
    h("div", { class: "muted" }, "by ", h("code", null, loss.liquidator), ` · block ${loss.block_number}`),
    h("div", { class: "muted" }, "transaction ", h("code", null, loss.transaction)),
  );
}

/** What somebody holds or owes. */
export function holdings(caption, rows, baseDecimals, collateral) {
  if (!rows.length) return h("p", { class: "muted" }, "None.");
  const heads = [{ name: "Asset" }, { name: "Amount", number: true }, { name: "Value", number: true }];
  if (collateral) heads.push({ name: "Threshold", number: true }, { name: "Penalty", number: true });
  return table(
    caption,
    heads,
    rows.map((one) => {
      const cells = [h("span", { title: one.asset }, one.symbol), units(one.amount, one.decimals, 6), one.value === null || baseDecimals === undefined ? "–" : money(one.value, baseDecimals)];
      if (collateral) cells.push(one.counts === false ? "does not count" : bps(one.liquidation_threshold_bps), bps(one.liquidation_penalty_bps));
      return cells;
    }),
  );
}

const bps = (value) => (value === null || value === undefined ? "–" : percent(value / 10000, 2, false));
