// The event stream: what happened, as it happens, and whether that can be believed.
//
// state: connecting · live · reconnecting (the server is gone; asked again with patience) · silent (the server answers,
// but the daemon behind it does not). The browser resumes a stream by Last-Event-ID itself; when it gave up we open a
// new one, and views ask for everything again ("resumed").

const NAMES = ["hello", "block", "call", "notice", "transaction", "record", "bands", "pulse", "reset", "dropped"];
const QUIET_MS = 40_000; // nothing for so long may be a quiet chain, or a connection that nobody told us is dead
const PATIENCE_MS = [500, 1_000, 2_000, 5_000, 10_000];

export class Live {
  constructor(url = "/api/v1/events") {
    this.url = url;
    this.state = "connecting";
    this.block = null;
    this.pulse = null;
    this.lost = null; // unix seconds since when nothing came
    this.listeners = new Map();
    this.failures = 0;
    this.source = null;
    this.timer = null;
    this.paused = false;
  }

  /** Hear an event, or "state" or "resumed". Returns what ends that. */
  on(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(listener);
    return () => this.listeners.get(name).delete(listener);
  }

  start() {
    this.open();
    setInterval(() => {
      if (this.source && performance.now() - this.heard > QUIET_MS) this.renew();
    }, 5_000);
    addEventListener("online", () => this.state === "reconnecting" && this.reopen(0));
  }

  open() {
    clearTimeout(this.timer);
    this.heard = performance.now();
    const source = new EventSource(this.url);
    this.source = source;
    source.addEventListener("open", () => {
      this.heard = performance.now();
      const resumed = this.failures > 0 || this.state === "reconnecting";
      this.failures = 0;
      this.lost = null;
      this.judge();
      if (resumed) this.tell("resumed");
    });
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.lose();
      if (source.readyState === EventSource.CLOSED) this.reopen();
    });
    for (const name of NAMES) source.addEventListener(name, (event) => this.take(name, event.data));
  }

  /** Hear nothing until `resume`: a browser keeps six connections to a server, and each stream takes one of them. */
  pause() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.paused = true;
  }

  resume() {
    if (!this.paused) return;
    this.paused = false;
    this.failures += 1; // what happened meanwhile was not heard
    this.open();
  }

  /** A new stream in place of one that was quiet for long; nothing is said unless that fails. */
  renew() {
    this.source.close();
    this.open();
  }

  reopen(wait = PATIENCE_MS[Math.min(this.failures, PATIENCE_MS.length - 1)]) {
    this.source?.close();
    this.source = null;
    this.lose();
    this.failures += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  lose() {
    this.lost ??= Date.now() / 1000;
    this.become("reconnecting");
  }

  take(name, text) {
    this.heard = performance.now();
    const data = JSON.parse(text);
    if (name === "hello") {
      this.block = data.block ?? this.block;
      this.pulse = data.pulse ?? this.pulse;
    }
    if (name === "block") this.block = data;
    if (name === "pulse") this.pulse = data;
    this.judge();
    this.tell(name === "reset" ? "resumed" : name, data);
  }

  judge() {
    if (this.source?.readyState !== EventSource.OPEN) return;
    this.become(this.pulse && this.pulse.state !== "live" ? "silent" : "live");
  }

  become(state) {
    const before = this.state;
    this.state = state;
    if (before !== state) this.tell("state", state);
  }

  tell(name, data) {
    for (const listener of this.listeners.get(name) ?? []) listener(data);
  }
}
