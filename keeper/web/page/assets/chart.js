// Two pictures in SVG, drawn at the size they have: the history of a health, and a ladder of collateral.

import { s, show } from "./dom.js";

/** An <svg> that is drawn again whenever its width changes. draw(svg, width, height). */
export function picture(height, label, draw) {
  const svg = s("svg", { class: "chart", height, role: "img", "aria-label": label });
  let width = 0;
  const sized = new ResizeObserver(() => {
    if (Math.abs(svg.clientWidth - width) < 1) return;
    width = svg.clientWidth;
    redraw();
  });
  const redraw = () => {
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    show(svg);
    draw(svg, width, height);
  };
  sized.observe(svg);
  return { element: svg, redraw, close: () => sized.disconnect() };
}

/** Some four round numbers from low to high. */
export function ticks(low, high, wanted = 4) {
  const step = 10 ** Math.floor(Math.log10((high - low) / wanted || 1));
  const unit = [1, 2, 2.5, 5, 10].map((by) => by * step).find((one) => (high - low) / one <= wanted + 1) ?? step * 10;
  const found = [];
  for (let value = Math.ceil(low / unit - 1e-9) * unit; value <= high + unit * 1e-9; value += unit) found.push(Number(value.toPrecision(12)));
  return found;
}

const PAD = { left: 48, right: 58, top: 10, bottom: 22 };

/** points: [{at, value | null}] by time; rules: [{name, value}] as horizontal lines. */
export function drawHistory(svg, width, height, points, rules, nameOfTime, readout) {
  const known = points.filter((point) => point.value !== null);
  if (!known.length) return;
  const [from, to] = [points[0].at, points[points.length - 1].at];
  const values = known.map((point) => point.value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const near = rules.filter((rule) => rule.value > least - 0.25 && rule.value < most + 0.1).map((rule) => rule.value);
  let [low, high] = [Math.min(least, ...near), Math.max(most, ...near)];
  const room = Math.max((high - low) * 0.08, 0.005);
  [low, high] = [low - room, high + room];
  const x = (at) => PAD.left + (to === from ? 0.5 : (at - from) / (to - from)) * (width - PAD.left - PAD.right);
  const y = (value) => PAD.top + (1 - (value - low) / (high - low)) * (height - PAD.top - PAD.bottom);

  for (const value of ticks(low, high)) {
    svg.append(s("line", { class: "axis", x1: PAD.left, x2: width - PAD.right, y1: y(value), y2: y(value) }));
    svg.append(s("text", { x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(high - low < 0.05 ? 3 : 2)));
  }
  const times = to === from ? [from] : [from, (from + to) / 2, to];
  times.forEach((at, i) => svg.append(s("text", { x: x(at), y: height - 6, "text-anchor": times.length === 1 ? "middle" : ["start", "middle", "end"][i] }, nameOfTime(at))));
  let taken = -Infinity;
  for (const rule of [...rules].sort((a, b) => b.value - a.value)) {
    if (rule.value < low || rule.value > high) continue;
    const at = y(rule.value);
    svg.append(s("line", { class: `rule ${rule.name}`, x1: PAD.left, x2: width - PAD.right, y1: at, y2: at }));
    taken = Math.max(at + 3.5, taken + 11);
    svg.append(s("text", { class: "rule-name", x: width - PAD.right + 6, y: taken }, rule.name));
  }
  let path = "";
  let broken = true;
  for (const point of points) {
    if (point.value === null) broken = true;
    else {
      path += broken ? `M${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}` : `H${x(point.at).toFixed(1)}V${y(point.value).toFixed(1)}`;
      broken = false;
    }
  }
  svg.append(s("path", { class: "line", d: path }));
  const last = known[known.length - 1];
  const dot = s("circle", { class: "dot", r: 3.5, cx: x(last.at), cy: y(last.value) });
  const cross = s("line", { class: "cross", y1: PAD.top, y2: height - PAD.bottom, visibility: "hidden" });
  svg.append(cross, dot);
  svg.onpointermove = (event) => {
    const wanted = from + ((event.offsetX - PAD.left) / (width - PAD.left - PAD.right)) * (to - from);
    const point = known.reduce((best, one) => (Math.abs(one.at - wanted) < Math.abs(best.at - wanted) ? one : best));
    cross.setAttribute("x1", x(point.at));
    cross.setAttribute("x2", x(point.at));
    cross.setAttribute("visibility", "visible");
    dot.setAttribute("cx", x(point.at));
    dot.setAttribute("cy", y(point.value));
    readout(point);
  };
  svg.onpointerleave = () => {
    cross.setAttribute("visibility", "hidden");
    dot.setAttribute("cx", x(last.at));
    dot.setAttribute("cy", y(last.value));
    readout(null);
  };
}

/** steps: [{name, value}] left to right, as bars from the floor; over(i | null): one is pointed at. */
export function drawSteps(svg, width, height, steps, nameOfValue, over, axis = "") {
  const most = Math.max(...steps.map((step) => step.value), 0);
  const pad = { left: 58, right: 8, top: 10, bottom: axis ? 38 : 22 };
  const floor = height - pad.bottom;
  const slot = (width - pad.left - pad.right) / Math.max(1, steps.length);
  const y = (value) => floor - (most ? value / most : 0) * (floor - pad.top);
  for (const value of most ? ticks(0, most) : [0]) {
    svg.append(s("line", { class: "axis", x1: pad.left, x2: width - pad.right, y1: y(value), y2: y(value) }));
    svg.append(s("text", { x: pad.left - 8, y: y(value) + 4, "text-anchor": "end" }, nameOfValue(value)));
  }
  const every = Math.ceil((steps.length * 44) / (width - pad.left - pad.right));
  steps.forEach((step, i) => {
    const x = pad.left + i * slot;
    const bar = s("rect", { class: "step", x: x + slot * 0.12, width: slot * 0.76, y: y(step.value), height: Math.max(0, floor - y(step.value)) });
    const hit = s("rect", { class: "step-hit", x, width: slot, y: pad.top, height: floor - pad.top });
    hit.addEventListener("pointerenter", () => (bar.classList.add("on"), over(i)));
    hit.addEventListener("pointerleave", () => (bar.classList.remove("on"), over(null)));
    svg.append(bar, hit);
    if (i % every === 0) svg.append(s("text", { x: x + slot / 2, y: floor + 15, "text-anchor": "middle" }, step.name));
  });
  if (axis) svg.append(s("text", { x: pad.left + (width - pad.left - pad.right) / 2, y: height - 4, "text-anchor": "middle" }, axis));
}
