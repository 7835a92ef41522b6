// What is, at a glance: the plant, how far each limit is, and what was last decided and why.

import { h, scroll } from "/assets/dom.js";
import { full, link, line } from "/assets/decision.js";
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

/** Everything with a limit: how far it is, and where it stands between its limits. */
function margins() {
  const e = store.site.envelope, rows = [];
  for (const s of store.site.signals) {
    const hard = s.role === "it_inlet" ? e.inlet_allowable : s.role === "chip_temp" && e.chip_allowable ? [null, e.chip_allowable]
      : (s.role === "liquid_supply" || s.role === "bath") && e.liquid_allowable ? [null, e.liquid_allowable] : [null, null];
    const floor = e.min_flow?.[s.name] ?? e.min_diff_pressure?.[s.name];
    const band = s.band ?? (floor !== undefined ? [floor, null] : hard[1] !== null ? [null, hard[1]] : null);
    if (!band) continue;
    rows.push({ ...s, sample: sample(s.name), low: band[0], high: band[1], hard });
  }
  return rows.map(r => {
    const v = r.sample?.value, up = r.high === null ? null : r.high - v, down = r.low === null ? null : v - r.low;
    const nearest = v === null || v === undefined ? null : Math.min(up ?? Infinity, down ?? Infinity);
    return { ...r, v, nearest, limit: nearest === null ? null : nearest === up ? r.high : r.low };
  });
}

/** What a margin is a share of: the band, or what the signal may be where that has one edge. */
const breadth = m => m.high !== null && m.low !== null ? m.high - m.low : m.range[1] - m.range[0];
const level = m => m.nearest === null || m.sample?.quality === "missing" ? "alarm" : m.nearest < 0 ? "alarm" : m.nearest < breadth(m) * .06 || m.sample.quality !== "good" ? "attention" : "";

function bar(m) {
  const [lo, hi] = [m.low ?? m.high - (m.range[1] - m.range[0]) * .5, m.high ?? m.low + (m.range[1] - m.range[0]) * .5];
  const pad = (hi - lo) * .25, a = Math.min(lo - pad, m.hard[0] ?? Infinity), b = Math.max(hi + pad, m.hard[1] !== null ? m.hard[1] + pad * .3 : -Infinity);
  const at = v => `${Math.min(100, Math.max(0, (v - a) / (b - a) * 100)).toFixed(2)}%`;
  const w = m.sample?.worst;
  return h("div", { class: `bar ${level(m)}`, role: "img", "aria-label": `${words(m.name)} ${value(m.v, m.unit)}, limits ${value(m.low, m.unit)} to ${value(m.high, m.unit)}` },
    h("i", { class: "zone", vars: { "--a": at(lo), "--w": `${(Math.min(hi, b) - lo) / (b - a) * 100}%` } }),
    m.hard.filter(v => v !== null).map(v => h("i", { class: "limit", vars: { "--a": at(v) } })),
    w && m.sample.quality !== "good" && h("i", { class: "worst", vars: { "--a": at(w.low), "--w": `calc(${at(w.high)} - ${at(w.low)})` } }),
    m.v !== null && m.v !== undefined && h("i", { class: "mark", vars: { "--a": at(m.v) } }));
}

function setpointBar(s) {
  const v = sample(s.name)?.value, at = x => `${((x - s.min) / (s.max - s.min) * 100).toFixed(2)}%`;
  return h("div", { class: "bar", role: "img", "aria-label": `${words(s.name)} ${value(v, s.unit)}, from ${value(s.min, s.unit)} to ${value(s.max, s.unit)}` },
    h("i", { class: "safe", vars: { "--a": at(s.safe) } }),
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
        h("td", { class: `n ${level(m) === "alarm" ? "bad" : level(m) ? "warn" : ""}` }, m.nearest === null ? "unknown" : `${num(m.nearest, 1)} ${deltaUnit(m.unit)} to ${figure(m.limit, m.unit)}`))),
      store.site.setpoints.map(s => {
        const held = store.state.overrides?.find(o => o.setpoint === s.name), v = sample(s.name);
        return h("tr", {}, h("td", {}, "▸ ", words(s.name), held && h("span", { class: "warn" }, " held")), h("td", { class: "n" }, value(v?.value, s.unit)), h("td", { class: "barcell" }, setpointBar(s)),
          h("td", { class: "n muted" }, `${figure(s.min, s.unit)} to ${value(s.max, s.unit)}`));
      })))),
    h("p", { class: "legend" }, "Shaded: operating band. Red line: emergency. ▸ setpoint as read back, over its range; dotted: where the plant is known to be safe."));
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
        worst && kpi(`Tightest: ${words(worst.name)}`, [figure(worst.v, worst.unit), h("small", {}, ` ${unit(worst.unit)}`)], worst.nearest === null ? "unknown" : `${num(worst.nearest, 1)} ${deltaUnit(worst.unit)} to its limit of ${value(worst.limit, worst.unit)}`, level(worst)),
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
        h("section", { class: "card", "aria-labelledby": "h-last" },
          h("header", {}, h("h2", { id: "h-last" }, "Last decision"), d && h("span", { class: "muted" }, clock(d.time), " ", link(d.seq))),
          d ? full(d) : h("p", { class: "muted" }, "None yet.")),
        machine())),
  ];
}
