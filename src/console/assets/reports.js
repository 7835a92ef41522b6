// A day or a month on a page that prints.

import { h, scroll, show } from "/assets/dom.js";
import { line } from "/assets/decision.js";
import { api, store } from "/assets/store.js";
import { BY, REPLACED, day, deltaUnit, figure, num, span, stamp, unit, value, words } from "/assets/text.js";

const rows = list => h("dl", { class: "facts" }, list.filter(Boolean).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
const percent = (part, whole) => whole > 0 ? `${num(100 * part / whole, 1)}\u00a0%` : "–";
const counts = (map, names = {}) => Object.entries(map ?? {}).sort((a, b) => b[1] - a[1]).map(([k, n]) => `${names[k] ?? words(k)} ${n}`).join(", ") || "none";

function days(r) {
  const kwh = (d, k) => d.energy[k] === undefined ? "–" : num(d.energy[k], 0), cells = d => [kwh(d, "it_kwh"), kwh(d, "cooling_kwh"), kwh(d, "facility_kwh"),
    d.pue === null ? "–" : num(d.pue, 3), num(d.covered_h, 1), percent(d.in_charge_h, d.covered_h), num(d.outside_h * 60, 0), num(d.decisions, 0), num(d.interventions, 0), num(d.alarms, 0)];
  return [h("h2", {}, "Day by day"), scroll("Day by day", h("table", {},
    h("thead", {}, h("tr", {}, ["Day", "IT kWh", "Cooling kWh", "Facility kWh", "PUE", "Data h", "In charge", "Outside a band, min", "Decisions", "Changed by the guard", "Alarms"].map((t, i) => h("th", { scope: "col", class: i ? "n" : "" }, t)))),
    h("tbody", {}, r.days.map(d => h("tr", {}, h("td", {}, h("a", { href: `/reports?day=${d.date}`, "data-link": true }, d.date)), cells(d).map(c => h("td", { class: "n" }, c)))))))];
}

function paper(r) {
  const d = r.day, e = d.energy, dec = d.decisions, of = x => x.hours < d.covered_h * .99 ? ` (of ${num(x.hours, 1)} h with good values)` : "", kwh = k => e[k] ? `${num(e[k].kwh, 0)}\u00a0kWh${of(e[k])}` : "not measured";
  const safety = new Set(store.site.rules.filter(x => x.for_safety).map(x => x.name)), s = r.saving;
  return h("article", { class: "report" },
    h("header", {}, h("h1", {}, `${r.site}: ${r.date}`), h("p", { class: "muted" }, `${store.state.simulated ? "SIMULATED PLANT. " : ""}From ${stamp(r.from)} to ${stamp(r.to)} ${r.time_zone}${r.over ? "" : `; the ${r.period} is not over`}. Made by Isotherm ${store.site.version} from the audit log.`)),
    d.frames === 0 ? h("p", { class: "notice warn" }, `There are no frames of this ${r.period} in the log.`) : [
      h("div", { class: "two" },
        h("section", {}, h("h2", {}, "Energy"), rows([
          ["IT", kwh("it_kwh")], ["Cooling", kwh("cooling_kwh")], ["Facility", kwh("facility_kwh")],
          d.pue && ["PUE", num(d.pue.ratio, 3) + of(d.pue)],
          ["Saving", s.stated ? h("span", {}, h("strong", {}, `${num(s.kwh, 0)} ± ${num(s.plus_minus_kwh, 0)}\u00a0kWh`), ` cooling (${num(s.percent, 1)}\u00a0% of what the baseline takes), 95\u00a0% interval, ${num(s.hours, 1)} h with the agent`) : `not stated: ${s.why}`],
          s.baseline && ["Baseline", `${s.baseline.told}: ${num(s.baseline.without_agent, 0)} of ${num(s.baseline.hours, 0)} h without the agent and with good values`],
        ])),
        h("section", {}, h("h2", {}, "Availability"), rows([
          ["Data", `${num(d.covered_h, 2)} h of ${num(r.hours, 0)} h, ${percent(d.covered_h, r.hours)}; ${num(d.frames, 0)} frames`],
          ["Agent in charge", `${num(d.in_charge_h, 2)} h, ${percent(d.in_charge_h, d.covered_h)} of the time with data`],
          ["Starts of the agent", String(d.starts)], ["Alarms", String(d.alarms.count)],
          ["Overrides", d.overrides.count || d.overrides.hours ? `${num(d.overrides.count, 0)}, in force for ${span(d.overrides.hours * 3600)} (${d.overrides.setpoints.map(o => `${words(o.setpoint)}: ${num(o.count, 0)}, ${span(o.hours * 3600)}`).join("; ")})` : "none"],
          ["Changed at the plant itself", d.overrides.changed_at_the_plant ? num(d.overrides.changed_at_the_plant, 0) : "never"],
          ["Registers", `${num(d.writes.applied, 0)} written and confirmed, ${num(d.writes.not_confirmed, 0)} not confirmed`],
        ]))),
      r.period === "month" && days(r),
      h("h2", {}, "Stability and violations"),
      scroll("Temperatures", h("table", {}, h("thead", {}, h("tr", {}, ["Signal", "Band", "Lowest", "Mean", "Highest", "RMS around mean", "Above the band", "Below", "Time outside"].map((t, i) => h("th", { scope: "col", class: i ? "n" : "" }, t)))),
        h("tbody", {}, d.watched.map(w => h("tr", {}, h("td", {}, words(w.signal)), h("td", { class: "n" }, `${figure(w.band[0], w.unit)} to ${value(w.band[1], w.unit)}`), h("td", { class: "n" }, value(w.min, w.unit)), h("td", { class: "n" }, `${num(w.mean, 2)} ${unit(w.unit)}`), h("td", { class: "n" }, value(w.max, w.unit)),
          h("td", { class: "n" }, `${num(w.rms, 2)} ${deltaUnit(w.unit)}`), h("td", { class: `n ${w.over > 0 ? "bad" : ""}` }, `${num(w.over, 2)} ${deltaUnit(w.unit)} h`), h("td", { class: `n ${w.under > 0 ? "bad" : ""}` }, `${num(w.under, 2)} ${deltaUnit(w.unit)} h`), h("td", { class: "n" }, `${num(w.hours_outside * 60, 0)} min`)))))),
      h("h2", {}, "Decisions"), rows([
        ["Decisions", `${num(dec.count, 0)}: ${counts(dec.by, BY)}`], ["Changed by the guard for safety", `${num(dec.interventions, 0)}, ${percent(dec.interventions, dec.count)}`],
        dec.checked > 0 && ["Rationales in which every claim held", `${dec.verified} of ${dec.checked}, ${percent(dec.verified, dec.checked)}`], Object.keys(dec.replaced).length > 0 && ["Model replaced", counts(dec.replaced, REPLACED)],
      ]),
      Object.keys(dec.rules).length > 0 && h("table", {}, h("caption", {}, "Rules that touched a decision"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rule"), h("th", { scope: "col" }, "Kind"), h("th", { scope: "col", class: "n" }, "Decisions"))),
        h("tbody", {}, Object.entries(dec.rules).sort((a, b) => b[1] - a[1]).map(([k, n]) => h("tr", {}, h("td", {}, words(k)), h("td", {}, safety.has(k) ? "safety" : "pace and form"), h("td", { class: "n" }, num(n, 0)))))),
      h("h2", {}, `Operators (${d.acts.count})`), d.acts.listed.length ? h("ul", { class: "feed" }, d.acts.listed.map(line)) : h("p", { class: "muted" }, "Nobody acted."),
      h("h2", {}, `Alarms (${d.alarms.count})`), d.alarms.listed.length ? h("ul", { class: "feed" }, d.alarms.listed.map(line)) : h("p", { class: "muted" }, "None."),
    ],
    h("h2", {}, "Method"),
    h("p", {}, `Energy is the trapezoid sum of good values; steps longer than three sample periods count for nothing. PUE is of the time for which both powers are known. Above and below the band: distance beyond it, times time. ${s.method}`));
}

export function reports(place, query) {
  // Counts up with every report asked for, and when the view is left: a late answer is nobody's.
  let token = 0;
  const load = async (period, date) => {
    const mine = ++token;
    history.replaceState(null, "", `/reports?${period}=${date}`);
    const other = period === "day" ? ["month", date.slice(0, 7)] : ["day", `${date}-01`];
    const bar = h("form", { class: "filters noprint", onsubmit: e => e.preventDefault() },
      h("label", {}, "Report on", h("select", { name: "period", onchange: () => load(...other) }, ["day", "month"].map(p => h("option", { value: p, selected: p === period }, `a ${p}`)))),
      h("label", { "data-key": period }, period === "day" ? "Day" : "Month", h("input", { name: "date", type: period === "day" ? "date" : "month", value: date, onchange: e => e.target.value && load(period, e.target.value) })),
      h("button", { type: "button", onclick: () => window.print() }, "Print or save as PDF"));
    show(place, h("h1", { class: "sr" }, "Reports"), bar, h("p", { class: "card muted" }, "Reading the log …"));
    try {
      const found = await api(`/api/report?${period}=${date}`);
      if (mine === token) show(place, h("h1", { class: "sr" }, "Reports"), bar, paper(found));
    } catch (e) { if (mine === token) show(place, bar, h("p", { class: "notice bad", role: "alert" }, e.message)); }
  };
  const month = query.get("month");
  if (month) load("month", month); else load("day", query.get("day") ?? day(store.state.time ?? Date.now()));
  return () => { token++; };
}
