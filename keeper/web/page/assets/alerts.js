// Notifications of the browser: a watched account's position came into another band. Only when asked for.

import { healthNumber, short } from "./format.js";
import { watches } from "./watched.js";

const KEY = "keeper.alerts";
const DEPTH = ["safe", "watch", "call", "urgent", "liquidatable"];

let leads = !("locks" in navigator); // of several tabs one notifies; where tabs cannot agree, each does
if (!leads) navigator.locks.request(KEY, () => ((leads = true), new Promise(() => {}))); // until this tab is closed

/** Whether this tab has to hear everything even while nobody sees it. */
export const onDuty = () => leads && enabled();

export const possible = () => "Notification" in globalThis;

export function enabled() {
  try {
    return possible() && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";
  } catch {
    return false;
  }
}

/** Switch on (asks the person through the browser) or off. Resolves to whether they are on now. */
export async function setEnabled(on) {
  if (on && (await Notification.requestPermission()) !== "granted") return false;
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    return false;
  }
  return on;
}

/** Tell of changes of the event `bands`. A later change of the same position replaces the notification of an earlier. */
export function tellChanges(changes) {
  if (!onDuty()) return;
  for (const change of changes) {
    if (!watches(change.account)) continue;
    const deeper = DEPTH.indexOf(change.to) > DEPTH.indexOf(change.from);
    const notification = new Notification(`${short(change.account)}: ${change.to}`, {
      body: `${change.protocol}: ${deeper ? "fell" : "rose"} from ${change.from} to ${change.to}, health ${healthNumber(change.health)}`,
      tag: change.position,
      icon: "/assets/icon.svg",
      requireInteraction: change.to === "liquidatable",
    });
    notification.addEventListener("click", () => {
      focus();
      location.assign(`/positions/${encodeURIComponent(change.position)}`);
    });
  }
}
