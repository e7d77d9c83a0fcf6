// The page: one document, a view per path, live. Every path is also a page of its own from the server, so that all
// links work in a new tab and, for what does not move, without scripts.

import { Problem, get } from "./api.js";
import { onDuty, tellChanges } from "./alerts.js";
import { say } from "./dom.js";
import { clock, count, span } from "./format.js";
import { Live } from "./live.js";
import { openFrame } from "./frame.js";

const VIEWS = [
  [/^\/(?:positions)?$/, () => import("./views/positions.js")],
  [/^\/positions\/([^/]+)$/, () => import("./views/position.js")],
  [/^\/calls$/, () => import("./views/calls.js")],
  [/^\/ladder$/, () => import("./views/ladder.js")],
  [/^\/transactions$/, () => import("./views/transactions.js")],
  [/^\/system$/, () => import("./views/system.js")],
];

const live = new Live();
const main = document.getElementById("main");
let current = null;
let turn = 0;

/** Show the view of the present address. focus: move the keyboard to its heading, as a new page would. */
async function route(focus) {
  const mine = ++turn;
  const found = VIEWS.map(([pattern, load]) => [location.pathname.match(pattern), load]).find(([match]) => match);
  if (!found) return; // a page of the server's own
  const [match, load] = found;
  let view;
  try {
    ({ view } = await load());
  } catch {
    return location.reload(); // not fetched in advance, and now it cannot be: what the browser says then is true
  }
  if (mine !== turn) return;
  current?.close();
  const context = { live, navigate, title, argument: match[1] && decodeURIComponent(match[1]), query: new URLSearchParams(location.search) };
  current = openFrame(main, view, context);
  mark();
  await current.ready;
  if (focus && mine === turn) main.querySelector("h1")?.focus({ preventScroll: true });
}

/** Go to another address of this page. */
function navigate(href) {
  history.pushState(null, "", href);
  scrollTo(0, 0);
  route(true);
}

function title(text) {
  document.title = `${text} · Keeper`;
}

function mark() {
  const section = location.pathname.split("/")[1] || "positions";
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.pathname === `/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hash || !VIEWS.some(([pattern]) => pattern.test(link.pathname))) return;
  event.preventDefault();
  navigate(link.href);
});
addEventListener("popstate", () => route(true));

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
  event.preventDefault();
  const search = document.querySelector('input[type="search"]');
  if (search) search.focus();
  else navigate("/positions?focus=search");
});

// --- the theme ---

const theme = document.getElementById("theme");
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkSystem.matches ? "dark" : "light")) === "dark";
const nameTheme = () => say(theme, isDark() ? "Light" : "Dark");
theme.hidden = false;
theme.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("keeper.theme", chosen);
  } catch {
    // it lasts until the page is left
  }
  nameTheme();
});
darkSystem.addEventListener("change", nameTheme);
nameTheme();

// --- what is alive ---

const state = document.getElementById("live");
const words = document.getElementById("live-words");
const rest = document.getElementById("live-more"); // what a phone has no room for
const told = document.getElementById("live-told");

function tellState() {
  state.dataset.state = live.state;
  const [first, more = ""] = wordsOf().split(" · block");
  say(words, first);
  say(rest, more && ` · block${more}`);
}

function wordsOf() {
  if (live.state === "connecting") return "connecting";
  if (live.state === "reconnecting") return `reconnecting, no news since ${clock(live.lost)} UTC`;
  if (live.state === "silent") {
    const at = live.pulse?.at;
    return at ? `the daemon does not answer since ${clock(at)} UTC` : "the daemon does not run";
  }
  const block = live.block;
  return block ? `live · block ${count(block.number)} · ${span(Date.now() / 1000 - block.timestamp)} old` : "live · no block yet";
}

live.on("state", () => {
  tellState();
  say(told, live.state === "live" ? "Live" : wordsOf()); // for who cannot see it: only when the state itself changes
});
for (const name of ["block", "pulse", "hello"]) live.on(name, tellState);
live.on("bands", (changes) => tellChanges(changes));
setInterval(tellState, 1_000);

// --- a tab that nobody sees rests, unless it is the one that notifies ---

const REST_MS = 60_000;
let resting = null;

function restOrNot() {
  clearTimeout(resting);
  if (document.hidden && !onDuty()) resting = setTimeout(() => live.pause(), REST_MS);
  else live.resume();
}
document.addEventListener("visibilitychange", restOrNot);
addEventListener("storage", restOrNot); // notifications were switched on in another tab

// --- how many calls are open ---

const badge = document.getElementById("open-calls");

async function countCalls() {
  try {
    const { open_calls: byBand } = await get("/status");
    const open = Object.values(byBand).reduce((sum, one) => sum + one, 0);
    badge.hidden = !open;
    say(badge, count(open));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}
for (const name of ["call", "resumed"]) live.on(name, countCalls);

live.start();
countCalls();
route(false);
