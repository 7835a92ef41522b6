// One decision, as a line and in full.

import { h, scroll } from "/assets/dom.js";
import { store } from "/assets/store.js";
import { BY, DISPOSITION, FAILURE, REPLACED, clock, figure, moment, value, words } from "/assets/text.js";

export const setpointOf = name => store.site?.setpoints.find(s => s.name === name);
const unitOf = name => setpointOf(name)?.unit ?? store.site?.signals.find(s => s.name === name)?.unit ?? "";

export const link = (seq, ...text) => h("a", { href: `/decisions/${seq}`, "data-link": true }, text.length ? text : `#${seq}`);

export const chip = (text, kind = "") => h("span", { class: `chip plain ${kind}` }, text);

/** How much a person should care. */
export function urgency(item) {
  if (item.kind === "operator") return item.accepted ? "person" : "attention";
  if (item.kind === "event") return item.alarm ? "alarm" : "";
  if (item.kind !== "decision") return "";
  const failed = item.outcome?.release_needed;
  if (failed || item.verdict?.emergency) return "alarm";
  return item.verdict?.intervened || item.claims?.verified === false || item.failure ? "attention" : "";
}

export function chips(d) {
  const v = d.verdict ?? {};
  return [
    chip(`by ${BY[v.by] ?? v.by}`),
    d.cause !== "cadence" && chip(`because of: ${words(d.cause)}`, d.cause === "emergency" ? "bad" : ""),
    d.claims && (d.claims.verified ? chip("every claim holds") : chip("unverified", "warn")),
    v.intervened && chip("changed by the guard", "warn"),
    d.replaced && chip(`stood in: ${REPLACED[d.replaced] ?? words(d.replaced)}`, "warn"),
    d.outcome?.release_needed && chip("write failed", "bad"),
  ];
}

/** chws sp 7.0 → 7.5 °C */
export function moves(d) {
  const to = d.verdict?.setpoints ?? {};
  const moved = Object.entries(to).filter(([n, v]) => d.before?.[n] !== v && v !== null);
  if (!moved.length) return "no change";
  return moved.map(([n, v]) => `${words(n)} ${figure(d.before?.[n], unitOf(n))} → ${value(v, unitOf(n))}`).join(", ");
}

function setpoints(d) {
  const wanted = d.decision?.setpoints ?? {}, after = d.verdict?.setpoints ?? {};
  const names = store.site ? store.site.setpoints.map(s => s.name) : Object.keys(after);
  return scroll("Setpoints", h("table", { class: "moves" },
    h("thead", {}, h("tr", {}, ["Setpoint", "In the plant", "Proposed", "After the guard"].map((t, i) => h("th", { scope: "col", class: i ? "n" : "" }, t)))),
    h("tbody", {}, names.map(n => {
      const from = d.before?.[n], to = after[n] ?? from, u = unitOf(n);
      return h("tr", {}, h("td", {}, words(n)), h("td", { class: "n" }, value(from, u)), h("td", { class: "n" }, wanted[n] === undefined ? "–" : value(wanted[n], u)),
        h("td", { class: `n ${from !== to ? "changed" : ""}` }, value(to, u)));
    }))));
}

function claims(d) {
  if (!d.claims?.checks?.length) return null;
  return h("ul", { class: "claims" }, d.claims.checks.map(c =>
    h("li", { class: c.holds ? "" : "no" }, h("span", { class: "sr" }, c.holds ? "holds: " : "does not hold: "), c.claim, !c.holds && c.found && h("span", { class: "bad" }, ` — ${c.found}`))));
}

function rules(d) {
  const touched = d.verdict?.touched ?? [], names = new Set(touched.map(t => t.rule));
  return [
    touched.length > 0 && scroll("Rules", h("table", {},
      h("thead", {}, h("tr", {}, ["Rule", "Setpoint", "From → to", "Why"].map(t => h("th", { scope: "col" }, t)))),
      h("tbody", {}, touched.map(t => {
        const u = unitOf(t.setpoint);
        return h("tr", {}, h("td", { class: "nowrap" }, words(t.rule)), h("td", { class: "nowrap" }, t.setpoint ? words(t.setpoint) : "all"),
          h("td", { class: "nowrap" }, `${figure(t.from, u)} → ${value(t.to, u)}`), h("td", {}, t.why));
      })))),
    h("ul", { class: "rules", "aria-label": "Rules of the guard, in order; those that changed something are marked" }, (store.site?.rules ?? []).map(r =>
      h("li", { class: names.has(r.name) ? (r.for_safety ? "safety" : "touched") : "", title: names.has(r.name) ? "changed the proposal" : "had no objection" },
        words(r.name), names.has(r.name) && h("span", { class: "sr" }, " changed the proposal")))),
  ];
}

function outcome(d) {
  const o = d.outcome;
  if (!o) return h("p", { class: "muted" }, d.disposition === "write" ? "The writes are under way." : `Nothing written: ${DISPOSITION[d.disposition] ?? d.disposition}.`);
  if (!o.writes) return h("p", { class: "warn" }, `No outcome: ${words(o.event)} ${o.detail ?? ""}`);
  return scroll("Registers", h("table", {},
    h("thead", {}, h("tr", {}, ["Written to", "Device, register", "Written (raw)", "Read back (raw)", "Result"].map(t => h("th", { scope: "col" }, t)))),
    h("tbody", {}, o.writes.map(w => {
      const ok = w.result === "applied", name = w.target?.setpoint ?? w.target;
      const result = typeof w.result === "string" ? words(w.result) : Object.entries(w.result).map(([k, v]) => `${words(k)}: ${v.why ?? v.exception ?? ""}`).join("");
      return h("tr", {}, h("td", {}, words(name)), h("td", { class: "nowrap" }, `${w.device}, ${w.address}`), h("td", { class: "mono" }, [w.words].flat().join(" ")),
        h("td", { class: "mono" }, w.read_back ? [w.read_back].flat().join(" ") : "–"), h("td", { class: ok ? "" : "bad" }, result, w.tries > 1 ? ` (${w.tries} tries)` : ""));
    }))));
}

export function reasons(d) {
  const doubt = d.claims && !d.claims.verified ? "doubt" : "";
  return [
    d.decision?.assessment && h("blockquote", { class: doubt }, d.decision.assessment, h("footer", {}, "assessment, by the model")),
    d.decision?.rationale && h("blockquote", { class: doubt }, d.decision.rationale, h("footer", {}, "rationale, by the model")),
    d.failure && h("p", { class: "warn" }, `No reply to use: ${FAILURE(d.failure)}.`),
    d.rejected && h("p", { class: "warn" }, `The reply was rejected: ${d.rejected.path}: expected ${d.rejected.expected}, found ${d.rejected.found}.`),
    d.replaced && h("p", {}, `${d.verdict?.by === "nobody" ? "The setpoints were held" : `The ${BY[d.verdict?.by] ?? d.verdict?.by} decided instead`}: ${REPLACED[d.replaced] ?? words(d.replaced)}.`),
  ];
}

/** The whole of it, under headings of this level. */
export function full(d, level = "h3") {
  return [
    h("div", { class: "said-by" }, chips(d), d.confidence !== null && d.confidence !== undefined && chip(`confidence ${(d.confidence * 100).toFixed(0)} %`), d.model_ms !== null && d.model_ms !== undefined && chip(`model took ${(d.model_ms / 1000).toFixed(1)} s`)),
    reasons(d),
    d.claims?.checks?.length > 0 && [h(level, {}, "Evidence"), claims(d)],
    h(level, {}, "Setpoints"), setpoints(d),
    h(level, {}, "The guard, rule by rule"), rules(d),
    h(level, {}, "Outcome"), outcome(d),
  ];
}

const ACTS = {
  mode: a => `changed the mode to ${a.mode}`, approve: a => ["approved decision ", link(a.decision)], reject: a => ["rejected decision ", link(a.decision)],
  override: a => `held ${words(a.setpoint)} at ${value(a.value, unitOf(a.setpoint))}${a.until ? ` until ${clock(a.until)}` : ""}`,
  clear_override: a => `gave ${words(a.setpoint)} back to the agent`, directive: a => `directed: “${a.text}”`,
  propose_upgrade: a => `proposed an upgrade: ${[a.model, a.prompts].filter(Boolean).join(", ")}`, accept_upgrade: () => "accepted the candidate", revert_upgrade: () => "took an upgrade back",
  withdraw_directive: a => `withdrew directive ${a.number}`, acknowledge: a => `acknowledged alarm ${a.alarm}`,
};

/** One record of the feed. */
export function line(item) {
  const when = h("span", { class: "when" }, moment(item.time, store.state.time), " ", link(item.seq));
  const body = {
    decision: () => [
      h("div", { class: "line" }, when, h("strong", {}, moves(item)), h("span", { class: "muted" }, DISPOSITION[item.disposition] ?? item.disposition)),
      item.decision?.rationale && h("p", {}, item.decision.rationale),
      h("div", { class: "tagline" }, chips(item)),
    ],
    operator: () => [h("div", { class: "line" }, when, h("strong", {}, item.who), h("span", {}, ACTS[item.act]?.(item) ?? words(item.act))),
      h("p", { class: item.accepted ? "muted" : "warn" }, `${item.accepted ? "" : "refused: "}${item.answer} — ${item.why || "no reason given"}`)],
    event: () => [h("div", { class: "line" }, when, h("strong", {}, words(item.event)), h("span", {}, item.detail))],
    candidate: () => [h("div", { class: "line" }, when, h("strong", {}, "a candidate"), h("span", {}, "beside ", link(item.beside), " would have: ", item.verdict ? Object.entries(item.verdict.setpoints).map(([n, v]) => `${words(n)} ${value(v, unitOf(n))}`).join(", ") : REPLACED[item.replaced] ?? "nothing"))],
    start: () => [h("div", { class: "line" }, when, h("strong", {}, "run started"), h("span", { class: "muted" }, `${item.version}, prompt ${item.prompt_template}`))],
    stop: () => [h("div", { class: "line" }, when, h("strong", {}, "run ended"), h("span", {}, item.why))],
  }[item.kind] ?? (() => [h("div", { class: "line" }, when, item.kind)]);
  return h("li", { class: urgency(item), "data-key": `r${item.seq}` }, body());
}

