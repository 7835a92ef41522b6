// What is, at a glance: the plant, how far each limit is, and what was last decided and why.

import { h, scroll } from "/assets/dom.js";
import { full, link, line } from "/assets/decision.js";
import { held } from "/assets/held.js";
import { limitsOf, marginsOf } from "/assets/limits.js";
import { plant } from "/assets/plant.js";
import { now as controlTime, store } from "/assets/store.js";
import { clock, countdown, deltaUnit, figure, num, short, span, unit, value, words } from "/assets/text.js";

const ofRole = role => store.site.signals.filter(s => s.role === role);
const sample = name => store.state.frame?.signals?.[name] ?? store.state.frame?.setpoints?.[name];
const good = s => s?.quality === "good" ? s.value : null;

function kpi(key, big, small, level = "") {
  return h("div", { class: `kpi ${level}` }, h("div", { class: "k" }, key), h("div", { class: "v" }, big), h("div", { class: "s" }, small));
}

/** Power of all signals of a role together; null unless every one is good. */
function total(role) {
  const all = ofRole(role).map(s => good(sample(s.name)));
  return all.length && all.every(v => v !== null) ? all.reduce((a, b) => a + b, 0) : null;
}

const power = (role, name) => {
  const all = ofRole(role);
  if (!all.length) return null;
  const doubtful = all.map(s => sample(s.name)).filter(v => v && v.quality !== "good");
  const of = all.length === 1 ? words(all[0].name) : `${all.length} signals together`;
  const doubt = all.length === 1 ? doubtful[0]?.quality : `${doubtful.length} of ${all.length} signals not good`;
  return kpi(name, [figure(total(role), all[0].unit), h("small", {}, ` ${unit(all[0].unit)}`)], doubtful.length ? doubt : of, doubtful.length ? "attention" : "");
};

/** Everything with a limit: how far each is, and where it stands between the tightest of them. */
function margins() {
  return store.site.signals.filter(s => limitsOf(s).length).map(s => {
    const found = sample(s.name), v = found?.value, list = marginsOf(s, v), all = limitsOf(s).filter(l => l.value !== null);
    const edge = (name, best) => { const of = all.filter(l => l.edge === name), soft = of.filter(l => l.what !== "allowable"); return of.length ? best(...(soft.length ? soft : of).map(l => l.value)) : null; };
    return { ...s, sample: found, v, list, low: edge("low", Math.max), high: edge("high", Math.min), hard: all.filter(l => l.what === "allowable").map(l => l.value), nearest: list[0].left, limit: list[0].value, what: list[0].what };
  });
}

/** What a margin is a share of: the band, or what the signal may be where that has one edge. */
const breadth = m => m.high !== null && m.low !== null ? m.high - m.low : m.range[1] - m.range[0];
/** What is left to a limit, in words. */
const left = (l, u) => l.value === null ? `${l.what}: not known` : l.left === null ? `${l.what} ${figure(l.value, u)}: unknown` : `${num(l.left, 1)} ${deltaUnit(u)} to ${figure(l.value, u)} ${l.what}`;
const level = m => m.nearest === null || m.sample?.quality === "missing" ? "alarm" : m.nearest < 0 ? "alarm" : m.nearest < breadth(m) * .06 || m.sample.quality !== "good" ? "attention" : "";

function bar(m) {
  const [lo, hi] = [m.low ?? m.high - (m.range[1] - m.range[0]) * .5, m.high ?? m.low + (m.range[1] - m.range[0]) * .5];
  const pad = (hi - lo) * .25, a = Math.min(lo - pad, ...m.hard), b = Math.max(hi + pad, ...m.hard.map(v => v + pad * .3));
  const at = v => `${Math.min(100, Math.max(0, (v - a) / (b - a) * 100)).toFixed(2)}%`;
  const w = m.sample?.worst;
  return h("div", { class: `bar ${level(m)}`, role: "img", "aria-label": `${words(m.name)} ${value(m.v, m.unit)}, limits ${value(m.low, m.unit)} to ${value(m.high, m.unit)}` },
    h("i", { class: "zone", vars: { "--a": at(lo), "--w": `${(Math.min(hi, b) - lo) / (b - a) * 100}%` } }),
    m.hard.map(v => h("i", { class: "limit", vars: { "--a": at(v) } })),
    w && m.sample.quality !== "good" && h("i", { class: "worst", vars: { "--a": at(w.low), "--w": `calc(${at(w.high)} - ${at(w.low)})` } }),
    m.v !== null && m.v !== undefined && h("i", { class: "mark", vars: { "--a": at(m.v) } }));
}

function setpointBar(s) {
  const v = sample(s.name)?.value, at = x => `${((x - s.min) / (s.max - s.min) * 100).toFixed(2)}%`;
  return h("div", { class: "bar", role: "img", "aria-label": `${words(s.name)} ${value(v, s.unit)}, from ${value(s.min, s.unit)} to ${value(s.max, s.unit)}` },
    h("i", { class: "safe", vars: { "--a": at(s.safe) } }),
    limitsOf(s).filter(l => l.value !== null && l.value > s.min && l.value < s.max).map(l => h("i", { class: "limit", vars: { "--a": at(l.value) } })),
    v !== null && v !== undefined && h("i", { class: "mark", vars: { "--a": at(v) } }));
}

function marginTable() {
  const list = margins();
  return h("section", { class: "card", "aria-labelledby": "h-margins" },
    h("header", {}, h("h2", { id: "h-margins" }, "Margins to limits")),
    scroll("Margins", h("table", { class: "margins" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Signal"), h("th", { scope: "col", class: "n" }, "Now"), h("th", { scope: "col" }, "Between its limits"), h("th", { scope: "col", class: "n" }, "Margin"))),
      h("tbody", {}, list.map(m => h("tr", {},
        h("td", {}, words(m.name)), h("td", { class: "n" }, value(m.v, m.unit)), h("td", { class: "barcell" }, bar(m)),
        h("td", { class: "n" }, h("span", { class: level(m) === "alarm" ? "bad" : level(m) ? "warn" : "" }, left(m.list[0], m.unit)), m.list.slice(1).map(l => h("small", { class: l.value === null ? "warn" : l.left < 0 ? "bad" : "muted" }, left(l, m.unit)))))),
      store.site.setpoints.map(s => {
        const inHand = [...store.state.overrides ?? [], ...store.state.manual_holds ?? []].some(o => o.setpoint === s.name), v = sample(s.name);
        return h("tr", {}, h("td", {}, "▸ ", words(s.name), inHand && h("span", { class: "warn" }, " held")), h("td", { class: "n" }, value(v?.value, s.unit)), h("td", { class: "barcell" }, setpointBar(s)),
          h("td", { class: "n muted" }, `${figure(s.min, s.unit)} to ${value(s.max, s.unit)}`, marginsOf(s, v?.value).map(l => h("small", { class: l.value === null ? "warn" : "" }, left(l, s.unit)))));
      })))),
    h("p", { class: "legend" }, "Shaded: between the tightest limits. Red line: allowable at most; beyond the upper one full cooling is in force. Dew point and approach: how cold liquid may be by now. ▸ setpoint as read back, over its range; dotted: where the plant is known to be safe."));
}

function signals() {
  const f = store.state.frame;
  const rest = store.site.signals.map(s => ({ ...s, ...(f?.signals?.[s.name] ?? { value: null, quality: "missing" }), unit: s.unit }));
  const doubtful = rest.filter(s => s.quality !== "good").length;
  return h("section", { class: "card", "aria-labelledby": "h-signals" },
    h("header", {}, h("h2", { id: "h-signals" }, "All signals"), h("span", { class: doubtful ? "warn" : "muted" }, doubtful ? `${doubtful} not good` : `all ${rest.length} good`)),
    h("div", { class: "halves" }, [rest.slice(0, Math.ceil(rest.length / 2)), rest.slice(Math.ceil(rest.length / 2))].map(half => h("table", {},
      h("thead", {}, h("tr", {}, ["Signal", "Value", "Quality", "Age"].map((t, i) => h("th", { scope: "col", class: i === 1 || i === 3 ? "n" : "" }, t)))),
      h("tbody", {}, half.map(s => h("tr", {}, h("td", {}, words(s.name)), h("td", { class: "n" }, value(s.value, s.unit)),
        h("td", { class: `q ${s.quality}` }, s.quality, s.doubt ? `: ${words(s.doubt)}` : ""), h("td", { class: "n muted" }, s.age_s === null || s.age_s === undefined ? "–" : span(s.age_s)))))))));
}

/** What the model has given up for want of memory, rung by rung. */
const RUNGS = {
  full: "enough: nothing given up", short: "short: prompts show less of the past",
  small: "small: the model runs with a small context", parked: "parked: the model does not run, the fallback decides",
};

function machine() {
  const s = store.site, st = store.state, m = st.model ?? {}, stats = st.stats ?? {};
  const llm = s.controller === "llm", prompt = st.prompt ?? s.prompt, trial = st.upgrade?.candidate;
  const facts = [
    ["Controller", llm ? `language model (${s.model.backend})` : s.controller],
    llm && ["Model", m.architecture ? `${m.architecture}, ${num(m.parameters / 1e6, 0)} M parameters, ${m.quantization}` : s.model.name ?? s.model.file ?? "–"],
    llm && m.sha256 && ["Model file", h("span", { class: "mono", title: m.sha256 }, `${s.model.file ?? ""} sha256 ${short(m.sha256)}`)],
    llm && ["Prompt", h("span", { class: "mono", title: prompt.sha256 }, `${prompt.template} sha256 ${short(prompt.sha256)}`)],
    trial && ["Candidate", `${trial.to.model.served?.name ?? `sha256 ${short(trial.to.model.file.sha256)}`}, ${trial.to.prompts.template}: ${trial.phase}, ${num(trial.tally.compared, 0)} decisions compared${trial.tally.agreement_pct === null ? "" : `, ${num(trial.tally.agreement_pct, 0)} % the same`}${trial.until ? `, until ${clock(trial.until)}` : ""}`],
    llm && ["Prompt size", `${s.model.history_tokens} tokens of history, context ${num(m.context ?? s.model.context, 0)} tokens`],
    llm && st.memory_rung && ["Memory", h("span", { class: st.memory_rung === "full" ? "" : "warn" }, RUNGS[st.memory_rung] ?? words(st.memory_rung))],
    llm && m.kv_bytes && ["Model memory", `${num(m.file_bytes / 1e6, 0)} MB weights, ${num(m.kv_bytes / 1e6, 1)} MB cache`],
    ["This run", `${num(stats.decisions ?? 0, 0)} decisions, ${num(stats.writes ?? 0, 0)} registers written, ${num(stats.failed_writes ?? 0, 0)} not confirmed`],
    ["Guard", `changed ${num(stats.interventions ?? 0, 0)} for safety, fallback decided ${num(stats.fallbacks ?? 0, 0)}`],
    stats.checked > 0 && ["Rationales", `${num(100 * stats.verified / stats.checked, 0)} % true of ${num(stats.checked, 0)}`],
    ["Resolution", `a frame every ${span(st.sample_every_s ?? s.sample_s)}, a decision every ${span(st.decide_every_s ?? s.cadence_s)}${st.decide_every_s !== undefined && st.decide_every_s !== s.cadence_s ? ` (as a rule ${span(s.cadence_s)})` : ""}`],
  ].filter(Boolean);
  return h("section", { class: "card", "aria-labelledby": "h-machine" }, h("header", {}, h("h2", { id: "h-machine" }, "What decides")),
    h("dl", { class: "facts" }, facts.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])));
}

export function view() {
  const st = store.state, site = store.site;
  if (!st.frame) return h("section", { class: "card" }, h("h1", {}, "Waiting for the first frame"), h("p", {}, "The agent runs, but no frame has arrived yet. The header says which link is down."));
  const a = total("it_load"), b = total("facility_power");
  const worst = margins().filter(m => m.role === "it_inlet" || m.role === "bath" || m.role === "liquid_supply").sort((x, y) => (x.nearest ?? -1e9) - (y.nearest ?? -1e9))[0];
  const left = (Date.parse(st.next_decision) - controlTime()) / 1000;
  const d = store.last;
  return [
    h("h1", { class: "sr" }, `${site.site}: now`),
    h("div", { class: "now" },
      h("section", { class: "kpis wide", "aria-label": "Key figures" },
        worst && kpi(`Tightest: ${words(worst.name)}`, [figure(worst.v, worst.unit), h("small", {}, ` ${unit(worst.unit)}`)], worst.nearest === null ? "unknown" : `${num(worst.nearest, 1)} ${deltaUnit(worst.unit)} to its limit of ${value(worst.limit, worst.unit)} (${worst.what})`, level(worst)),
        ofRole("facility_power").length > 0 && kpi("PUE", a > 0 && b !== null ? num(b / a, 3) : "–", "facility over IT power"),
        power("cooling_power", "Cooling"), power("it_load", "IT load"), power("facility_power", "Facility"),
        kpi("Next decision", st.thinking ? "deciding" : Number.isNaN(left) ? "–" : [countdown(left), h("small", {}, " min:s")], st.thinking ? "the model is being asked" : st.next_decision ? `at ${clock(st.next_decision)}` : "none planned")),
      h("div", { class: "stack" },
        h("section", { class: "card", "aria-labelledby": "h-plant" },
          h("header", {}, h("h2", { id: "h-plant" }, "Plant"), h("span", { class: "muted" }, `frame of ${clock(st.frame.time)}`)), plant(site, st.frame)),
        marginTable(), signals(),
        h("section", { class: "card", "aria-labelledby": "h-recent" }, h("header", {}, h("h2", { id: "h-recent" }, "Lately"), h("a", { href: "/decisions", "data-link": true }, "all decisions")),
          h("ul", { class: "feed" }, store.records.filter(r => r.kind !== "outcome").slice(-6).reverse().map(line)))),
      h("div", { class: "stack" },
        st.emergency && h("p", { class: "notice bad" }, h("strong", {}, "EMERGENCY: "), "full cooling is in force; the model is not asked."),
        st.advice && h("p", { class: "notice warn" }, h("strong", {}, "An action waits: "), "decision ", link(st.advice.decision), `, until ${clock(st.advice.expires)}. `, h("a", { href: "/act", "data-link": true }, "Approve or reject")),
        held(),
        h("section", { class: "card", "aria-labelledby": "h-last" },
          h("header", {}, h("h2", { id: "h-last" }, "Last decision"), d && h("span", { class: "muted" }, clock(d.time), " ", link(d.seq))),
          d ? full(d) : h("p", { class: "muted" }, "None yet.")),
        machine())),
  ];
}
