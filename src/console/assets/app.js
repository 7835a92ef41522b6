// Header, navigation, and which view is on the page.

import { act, logIn, release } from "/assets/act.js";
import { feed, one } from "/assets/decisions.js";
import { h, show } from "/assets/dom.js";
import { view as nowView } from "/assets/now.js";
import { replay } from "/assets/replay.js";
import { reports } from "/assets/reports.js";
import { begin, changed, connected, logout, now as controlTime, onChange, store } from "/assets/store.js";
import { clock, day, words, zoneName } from "/assets/text.js";
import { trends } from "/assets/trends.js";

const VIEWS = [["/", "Now"], ["/trends", "Trends"], ["/decisions", "Decisions"], ["/act", "Act"], ["/replay", "Replay"], ["/reports", "Reports"]];
const $ = id => document.getElementById(id);

function now(place) {
  let asked = false;
  const draw = () => { asked = false; if (store.site) show(place, nowView()); };
  const soon = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  draw();
  const off = onChange(soon), tick = setInterval(soon, 1000);
  return () => { off(); clearInterval(tick); };
}

function theme() {
  const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const next = dark ? "light" : "dark";
  return h("button", { class: "quiet", "aria-label": `Use the ${next} theme`, title: `Use the ${next} theme`, onclick: () => {
    root.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* not kept */ }
    header(); changed("theme");
  } }, dark ? "☀" : "☾");
}

let told = 0, news = "";
/** Alarms in words, said once: others that are acknowledged change nothing. An emergency has its own chip. */
function newAlarms(all) {
  const fresh = all.filter(a => a.seq > told && a.event !== "emergency");
  if (fresh.length) news = `New alarm: ${fresh.map(a => `${words(a.event)}, ${a.detail}`).join("; ")}`;
  if (!all.length) news = "";
  told = all.length ? Math.max(told, all.at(-1).seq) : 0;
  return news;
}

function header() {
  const st = store.state, site = store.site, s = store.session, shown = !!st.mode;
  const down = [["source", st.source_link, "no frames"], ["plant", st.plant_link, "registers do not answer"], ["audit", st.audit_ok, "log cannot be written"]];
  const alarms = st.alarms?.length ?? 0, released = st.mode === "manual";
  $("banner").hidden = !st.simulated;
  document.title = `${alarms ? `(${alarms}) ` : ""}${site ? `${site.site} · ` : ""}Isotherm`;
  show($("top"),
    h("div", { class: "brand" }, h("img", { src: "/assets/icon.svg", alt: "" }), h("div", {}, h("span", { class: "site" }, site?.site ?? "Isotherm"), h("small", {}, site ? `Isotherm ${site.version}` : ""))),
    shown && h("span", { class: `mode ${st.mode}` }, h("span", { class: "sr" }, "mode "), st.mode),
    h("div", { class: "chips" },
      !connected() && (shown || store.refused) && h("span", { class: "chip bad", role: "alert", "data-key": "link" }, "not connected: what is shown is old"),
      h("span", { class: "sr", role: "alert", "data-key": "news" }, newAlarms(st.alarms ?? [])),
      shown && (st.emergency ? h("span", { class: "chip bad", role: "alert", "data-key": "emergency" }, "EMERGENCY") : h("span", { class: "chip plain" }, st.in_charge ? "in charge" : "not in charge")),
      shown && down.map(([name, ok, what]) => h("span", { class: `chip ${ok ? "" : "bad"}` }, ok ? `${name} ok` : `${name}: ${what}`)),
      st.advice && h("a", { class: "chip warn", href: "/act", "data-link": true }, "approval waits"),
      (st.overrides?.length ?? 0) > 0 && h("a", { class: "chip warn", href: "/act", "data-link": true }, `${st.overrides.length} override${st.overrides.length > 1 ? "s" : ""}`),
      (st.manual_holds?.length ?? 0) > 0 && h("a", { class: "chip warn", href: "/", "data-link": true }, `${st.manual_holds.length} held at the plant`),
      alarms > 0 && h("a", { class: "chip bad", href: "/act", "data-link": true }, `${alarms} alarm${alarms > 1 ? "s" : ""}`)),
    h("span", { class: "grow" }),
    shown && h("div", { class: "time" }, h("b", {}, clock(controlTime())), h("small", {}, `${day(controlTime())} ${zoneName()}${site?.clock === "frames" ? ", frame time" : ""}`)),
    s?.user && s.user.by !== "console" ? h("span", { class: "muted", title: "Logged in by the proxy in front" }, `${s.user.name} (${s.user.role})`) : s?.user ? h("button", { class: "quiet", onclick: logout, title: "Log out", "aria-label": `${s.user.name} (${s.user.role}): log out` }, `${s.user.name} (${s.user.role})`) : s?.login ? h("button", { onclick: logIn }, "Log in") : h("span", { class: "muted wordy" }, "read-only"),
    theme(),
    shown && h("button", { class: "release", onclick: release, "aria-disabled": String(released) }, released ? "RELEASED" : "RELEASE"));
  const alarmsIn = alarms ? h("span", { class: "count" }, String(alarms), h("span", { class: "sr" }, " alarms")) : null;
  show($("nav"), VIEWS.map(([path, name]) => h("a", { href: path, "data-link": true, "aria-current": current(path) ? "page" : null }, name, name === "Act" && alarmsIn)));
  document.documentElement.style.setProperty("--under", `${$("top").offsetHeight}px`);
}

const current = path => path === "/" ? location.pathname === "/" : location.pathname.startsWith(path);

let leave = null;
function route() {
  leave?.();
  leave = null;
  const main = $("main"), path = location.pathname, query = new URLSearchParams(location.search), seq = path.match(/^\/decisions\/(\d+)$/);
  show(main);
  header();
  if (store.session?.login && !store.session.user) {
    show(main, h("section", { class: "card" }, h("h1", {}, "Log in"), h("p", {}, "This console shows a plant to people who have a name here."), h("button", { class: "primary", onclick: logIn }, "Log in")));
    return;
  }
  if (!store.site) { show(main, h("p", { class: "card muted" }, store.refused ? `No answer from the agent: ${store.refused}. Trying again.` : "Loading …")); return; }
  if (seq) leave = one(main, Number(seq[1]));
  else if (path === "/trends") leave = trends(main, query);
  else if (path === "/decisions") leave = feed(main, query);
  else if (path === "/act") leave = act(main);
  else if (path === "/replay") leave = replay(main, query);
  else if (path === "/reports") leave = reports(main, query);
  else leave = now(main);
}

export function go(address) {
  history.pushState(null, "", address);
  route();
  $("main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

document.addEventListener("click", e => {
  const a = e.target.closest?.("a[data-link]");
  if (!a || e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
  e.preventDefault();
  go(a.getAttribute("href"));
});
addEventListener("popstate", route);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { header(); changed("theme"); });

let waits = false;
onChange(what => {
  if (what === "session" || !store.site) { route(); return; }
  if (!waits) { waits = true; setTimeout(() => { waits = false; header(); }, 200); }
});
setInterval(header, 1000);
route();
begin();
