// Health as a bar: logarithmic from 0.9 to 2.5, so that the last percents before liquidation have room.
// The long line is the breach at 1, the short ones are urgent and call.

import { s } from "./dom.js";

const LOW = 0.9;
const HIGH = 2.5;
const SPAN = Math.log(HIGH / LOW);
export const WIDTH = 200;

/** Where a health stands on the bar, 0..WIDTH. */
export function placeOf(value) {
  if (value === null) return WIDTH;
  return (Math.max(0, Math.min(1, Math.log(Math.max(value, 1e-9) / LOW) / SPAN))) * WIDTH;
}

export function healthBar() {
  const track = s("rect", { class: "track", x: 0, y: 3, width: WIDTH, height: 8, rx: 1 });
  const fill = s("rect", { class: "fill", x: 0, y: 3, width: 0, height: 8, rx: 1 });
  const [call, urgent, breach] = ["call", "urgent", "breach"].map((name) => s("line", { class: name, y1: name === "breach" ? 0 : 1.5, y2: name === "breach" ? 14 : 12.5, "vector-effect": "non-scaling-stroke" }));
  const element = s("svg", { class: "bar", viewBox: `0 0 ${WIDTH} 14`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, track, fill, call, urgent, breach);
  at(breach, 1);
  return { element, fill, call, urgent };
}

/** health: a number, or null for no debt. */
export function drawBar(bar, value, band, call, urgent) {
  bar.fill.setAttribute("width", placeOf(value).toFixed(1));
  bar.fill.setAttribute("class", `fill ${band}`);
  if (bar.calledAt !== call) at(bar.call, (bar.calledAt = call));
  if (bar.urgentAt !== urgent) at(bar.urgent, (bar.urgentAt = urgent));
}

function at(line, value) {
  const x = placeOf(value).toFixed(1);
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}
