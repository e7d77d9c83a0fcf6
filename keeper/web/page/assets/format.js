// Numbers, amounts, addresses and times as people read them. Integers that decide anything arrive as decimal strings
// and are only ever cut, never rounded up: a health of 0.99996 is not shown as 1.

const NARROW = "\u202f";

/** A decimal string of raw units as a plain decimal, every digit kept: what one pastes into a wallet. */
export function exact(raw, decimals) {
  const negative = raw.startsWith("-");
  const digits = (negative ? raw.slice(1) : raw).padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = decimals ? digits.slice(-decimals).replace(/0+$/, "") : "";
  return `${negative ? "-" : ""}${whole}${fraction ? `.${fraction}` : ""}`;
}

/** Raw units with thousands apart, cut to so many places; what is there but too small to show says so. */
export function units(raw, decimals, places = 4) {
  if (raw === null || raw === undefined) return "–";
  const [whole, fraction = ""] = exact(String(raw), decimals).split(".");
  const kept = fraction.slice(0, places).replace(/0+$/, "");
  if (!kept && fraction && (whole === "0" || whole === "-0")) return `${whole === "-0" ? "−" : ""}< ${places ? `0.${"0".repeat(places - 1)}1` : "1"}`;
  return `${group(whole)}${kept ? `.${kept}` : ""}`;
}

/** Raw units that are needed, so rounded up: a little less than what cures does not cure. */
export function atLeast(raw, decimals, places = 4) {
  const step = 10n ** BigInt(Math.max(0, decimals - places));
  return units(String(((BigInt(raw) + step - 1n) / step) * step), decimals, places);
}

/** A value in the base currency with two places. */
export function money(raw, decimals) {
  if (raw === null || raw === undefined) return "–";
  const [whole, fraction = ""] = exact(String(raw), decimals).split(".");
  return `${group(whole)}.${fraction.slice(0, 2).padEnd(2, "0")}`;
}

/** A price: a decimal string, cut to what a person compares: four places, or four digits of a small one. */
export function price(text) {
  if (text === null || text === undefined) return "–";
  const [whole, fraction = ""] = text.split(".");
  const zeros = whole === "0" ? fraction.length - fraction.replace(/^0+/, "").length : 0;
  const kept = fraction.slice(0, zeros + 4).replace(/0+$/, "");
  return `${group(whole)}${kept ? `.${kept}` : ""}`;
}

/** A value as for `money`, of a number that is for display only; whole units from a thousand on. */
export function about(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  return value >= 1000 || value <= -1000 ? ABOUT_WHOLE.format(value) : ABOUT.format(value);
}

const ABOUT = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const ABOUT_WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const compact = (value) => COMPACT.format(value);
export const count = (value) => ABOUT_WHOLE.format(value);

/** A wad, cut to four places; null is a position that owes nothing. */
export function health(wad, places = 4) {
  if (wad === null || wad === undefined) return "no debt";
  const [whole, fraction = ""] = exact(String(wad), 18).split(".");
  if (whole.length > 4) return "> 9999";
  return `${whole}.${fraction.slice(0, places).padEnd(places, "0")}`;
}

/** A health that came as a number (display only). */
export function healthNumber(value, places = 4) {
  if (value === null) return "no debt";
  if (value >= 10000) return "> 9999";
  const scale = 10 ** places;
  return (Math.floor(value * scale + 1e-6) / scale).toFixed(places);
}

export const wadToNumber = (wad) => (wad === null || wad === undefined ? null : Number(wad) / 1e18);

/** A fraction as a signed percentage: "-0.0571" is −5.71 %. */
export function percent(fraction, places = 2, signed = true) {
  const value = Number(fraction) * 100;
  const sign = value < 0 ? "−" : signed && value > 0 ? "+" : "";
  return `${sign}${Math.abs(value).toFixed(places)}${NARROW}%`;
}

export const short = (hex) => (hex && hex.length > 14 ? `${hex.slice(0, 6)}…${hex.slice(-4)}` : (hex ?? "–"));

/** Seconds as one word. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s}${NARROW}s`;
  if (s < 5400) return `${Math.round(s / 60)}${NARROW}min`;
  if (s < 129600) return `${Math.round(s / 3600)}${NARROW}h`;
  return `${Math.round(s / 86400)}${NARROW}d`;
}

export function micros(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${us}${NARROW}µs`;
  if (us < 1e6) return `${(us / 1000).toPrecision(3)}${NARROW}ms`;
  return `${(us / 1e6).toPrecision(3)}${NARROW}s`;
}

/** Unix seconds as UTC, to the second. */
export function utc(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);

function group(whole) {
  return whole.replace("-", "−").replace(/\B(?=(\d{3})+$)/g, ",");
}
