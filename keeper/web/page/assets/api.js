// Questions to the server. An answer is asked for again only by its ETag, so what did not change costs no parsing.

const kept = new Map();
const KEPT = 24;

/** An error the server explained (a problem object), or that it could not be reached. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

/** The JSON object at a path below /api/v1. Raises Problem. */
export async function get(path, parameters, signal) {
  const query = new URLSearchParams(Object.entries(parameters ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const url = `/api/v1${path}${query.size ? `?${query}` : ""}`;
  const before = kept.get(url);
  let answer;
  try {
    answer = await fetch(url, { cache: "no-store", signal, headers: before ? { "If-None-Match": before.etag } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server cannot be reached", "Is `keeper web` running? This page asks again by itself.");
  }
  if (answer.status === 304 && before) return before.body;
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`); // the session ended
  if (!answer.ok) throw await problemOf(answer);
  const body = await answer.json();
  const etag = answer.headers.get("ETag");
  if (etag) {
    kept.delete(url);
    kept.set(url, { etag, body });
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return body;
}

let session = null;

/** Whether who sits here may acknowledge a call. Asked once. */
export async function mayAcknowledge() {
  session ??= get("/session").catch((error) => {
    session = null;
    if (error instanceof Problem) return { may_acknowledge: false };
    throw error;
  });
  return (await session).may_acknowledge;
}

/** The one thing that can be changed from here. Raises Problem. */
export async function acknowledge(call) {
  const { csrf } = await session;
  const answer = await fetch(`/api/v1/calls/${encodeURIComponent(call)}/acknowledge`, { method: "POST", headers: { "X-CSRF-Token": csrf } });
  if (!answer.ok) throw await problemOf(answer);
}

async function problemOf(answer) {
  try {
    const said = await answer.json();
    return new Problem(answer.status, said.title ?? answer.statusText, [said.detail, said.remedy].filter(Boolean).join("; "));
  } catch {
    return new Problem(answer.status, `The server answered ${answer.status}`, answer.statusText);
  }
}
