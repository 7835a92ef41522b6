// What the page knows: the site, the live state and the newest records, kept up to date by the live stream.
// Each event's id is the number of the last record in it; the browser sends it when it reconnects, so what
// happened in between comes too.

import { setZone } from "/assets/text.js";

export const store = {
  site: null, state: {}, session: null,
  /** Newest last: everything but frames. */
  records: [],
  /** The newest decision. */
  last: null,
  online: false, receivedAt: 0,
  refused: null,
};

const listeners = new Set();
export const onChange = f => { listeners.add(f); return () => listeners.delete(f); };
export const changed = what => { for (const f of [...listeners]) f(what); };

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

export async function api(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-csrf-token": store.session?.user?.csrf ?? "" },
  };
  const response = await fetch(path, options);
  const json = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, json.error ?? `${response.status} ${response.statusText}`);
  return json;
}

const KEPT = 300;

function take(records) {
  const frames = [];
  for (const r of records) {
    if (r.kind === "frame") { if (r.v) frames.push(r); continue; }
    if (r.kind === "decision") store.last = r;
    if (r.kind === "outcome" && store.last && r.intent === store.last.seq) store.last.outcome = r;
    store.records.push(r);
  }
  store.records.splice(0, store.records.length - KEPT);
  return frames;
}

let stream = null;

async function fill() {
  const page = await api("/api/decisions?limit=1");
  store.last = page.items[0] ?? null;
  const recent = await api("/api/decisions?kinds=decision,operator,event,start,stop&limit=60");
  store.records = recent.items.reverse();
}

function listen(after) {
  stream?.close();
  stream = new EventSource(after === undefined ? "/api/live" : `/api/live?after=${after}`);
  stream.addEventListener("open", () => { store.online = true; changed("link"); });
  stream.addEventListener("error", async () => {
    store.online = false; changed("link");
    // The browser tries again by itself, unless the server said no: a session that ended, or a proxy's page.
    if (stream.readyState === EventSource.CLOSED) setTimeout(begin, 3000);
  });
  stream.addEventListener("reset", () => { fill().then(() => changed("reset")).catch(() => {}); });
  stream.addEventListener("records", e => {
    const frames = take(JSON.parse(e.data));
    changed("records");
    if (frames.length) for (const f of [...frameListeners]) f(frames);
  });
  stream.addEventListener("state", e => {
    const before = store.state.setup_revision;
    store.state = JSON.parse(e.data); store.receivedAt = performance.now(); store.online = true;
    if (store.state.setup_revision !== before) known().then(() => changed("session")).catch(() => {});
    changed("state");
  });
}

// A page that is left may be kept for the way back; its connection is one of the few a browser has for one host.
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", e => { if (e.persisted) begin(); });

const frameListeners = new Set();
export const onFrames = f => { frameListeners.add(f); return () => frameListeners.delete(f); };

/** Names, limits, rules: they change with a reload or an upgrade. */
async function known() {
  store.site = await api("/api/site");
  setZone(store.site.time_zone);
}

/** Loads what there is and goes on from there. */
export async function begin() {
  try {
    store.session = await api("/api/session");
    if (store.session.login && !store.session.user) { changed("session"); return; }
    // In this order: a site that changes in between is asked for again.
    store.state = await api("/api/state");
    store.receivedAt = performance.now();
    await known();
    await fill();
    const newest = store.records.at(-1)?.seq;
    listen(newest);
    changed("session");
  } catch (e) {
    store.refused = e.message; store.online = false; changed("link");
    setTimeout(begin, 3000);
  }
}

export async function login(name, password) {
  const answer = await api("/api/login", { name, password });
  store.session = { ...store.session, user: answer.user };
  await begin();
}

export async function logout() {
  await api("/api/logout", {});
  location.reload();
}

/** Who may do what, as the server will judge it; the server has the last word. */
export const may = role => ({ viewer: 0, operator: 1, engineer: 2 })[store.session?.user?.role] >= ({ viewer: 0, operator: 1, engineer: 2 })[role];

/** Something is heard every ten seconds: after three times that the line is dead, whatever the browser thinks of it. */
export const connected = () => store.online && performance.now() - store.receivedAt < 30000;

/** Control time by now: the state's, gone on where control follows the wall and is heard. */
export function now() {
  const t = Date.parse(store.state.time);
  return store.site?.clock === "wall" && connected() ? t + (performance.now() - store.receivedAt) : t;
}
