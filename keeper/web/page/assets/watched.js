// Accounts that whoever sits here cares about. Kept in this browser and told to nobody.

const KEY = "keeper.watched";
const listeners = new Set();

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return new Set(Array.isArray(stored) ? stored.filter((one) => typeof one === "string") : []);
  } catch {
    return new Set();
  }
}

let accounts = read();

export const watches = (account) => accounts.has(account.toLowerCase());
export const watchedCount = () => accounts.size;

export function toggleWatched(account) {
  const key = account.toLowerCase();
  if (!accounts.delete(key)) accounts.add(key);
  try {
    localStorage.setItem(KEY, JSON.stringify([...accounts]));
  } catch {
    // not kept: it lasts until the page is left
  }
  for (const listener of listeners) listener();
  return accounts.has(key);
}

export function onWatched(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  accounts = read();
  for (const listener of listeners) listener();
});
