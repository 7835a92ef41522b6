// What was recorded, played again: a period of the own log or a trace, at any speed, and beside it what would
// have been decided with other settings. The plant's answers are the recorded ones.

import { COLOURS, axes, css, groups } from "/assets/charts.js";
import { link } from "/assets/decision.js";
import { h, scroll, show } from "/assets/dom.js";
import { plant } from "/assets/plant.js";
import { api, may, onChange, store } from "/assets/store.js";
import { BY, REPLACED, clock, day, fromLocal, local, num, span, stamp, unit, value, words, zoneName } from "/assets/text.js";

const SPEEDS = [1, 10, 60, 300, 1800, 7200];
const iso = s => new Date(s * 1000).toISOString();
const RECORDED = "recorded";

/** The last of a list in order of time that is not after `t`. */
function before(list, t, time) {
  let low = 0, high = list.length;
  while (low < high) { const m = (low + high) >> 1; if (time(list[m]) <= t) low = m + 1; else high = m; }
  return low - 1;
}

export function replay(place, query) {
  const site = store.site;
  let sources = null, source = query.get("source") ?? "log", from = Number(query.get("from")) || null, to = Number(query.get("to")) || null;
  let data = null, error = "", loading = false, runs = [], reports = {}, solid = RECORDED, dashed = "";
  let at = Number(query.get("at")) || null, playing = false, speed = 300, charts = [], token = 0, last = 0, shown = 0;

  const head = h("div"), bar = h("div", { class: "player" }), list = h("div", { class: "charts" }), below = h("div", { class: "halves replayed" }), made = h("section", { class: "card", "aria-labelledby": "h-whatif" });
  show(place);
  place.append(h("h1", { class: "sr" }, "Replay"), head, bar, below, made, list);

  async function look() {
    try {
      sources = await api("/api/replay/sources");
      runs = (await api("/api/replay/runs")).runs;
      if (source === "log" && sources.log && !from) { to = sources.log.newest; from = Math.max(sources.log.oldest, to - 6 * 3600); }
    } catch (e) { error = e.message; }
    await load();
  }

  async function load() {
    const mine = ++token;
    loading = true; error = ""; draw();
    const q = new URLSearchParams({ source, points: "2000" });
    if (from) q.set("from", iso(from));
    if (to) q.set("to", iso(to));
    try {
      const got = await api(`/api/replay/course?${q}`);
      if (mine !== token) return;
      for (const s of got.steps) s.t = Date.parse(s.at) / 1000;
      data = got;
      from ??= got.from; to ??= got.to;
      at = Math.min(Math.max(at ?? got.from, got.from), got.to);
      history.replaceState(null, "", `/replay?${new URLSearchParams({ source, from, to })}`);
    } catch (e) { if (mine !== token) return; error = e.message; data = null; }
    loading = false; draw(); build();
  }

  /** Decisions of a run by its name here. */
  const steps = name => name === RECORDED ? data?.steps ?? [] : reports[name]?.steps ?? [];
  const called = name => name === RECORDED ? "as recorded" : `what-if ${name}, ${runs.find(r => String(r.id) === name)?.wanted.with ?? "settings as they are"}`;

  function form() {
    const own = source === "log", field = (name, label, t) => h("label", {}, label, h("input", { name, type: "datetime-local", step: 1, value: t ? local(t * 1000) : "" }));
    const reach = hours => () => { const end = sources?.log?.newest ?? store.state.time; to = typeof end === "string" ? Date.parse(end) / 1000 : end; from = to - hours * 3600; at = from; load(); };
    show(head,
      h("form", { class: "filters", "aria-label": "What to replay", onsubmit: e => { e.preventDefault(); const f = e.target.elements; from = f.from.value ? fromLocal(f.from.value) / 1000 : null; to = f.to.value ? fromLocal(f.to.value) / 1000 : null; at = from; load(); } },
        h("label", {}, "Recording", h("select", { name: "source", onchange: e => { source = e.target.value; from = to = at = null; dashed = ""; solid = RECORDED; if (source === "log") look(); else load(); } },
          [["log", "this agent's log"], ...(sources?.recordings ?? []).map(r => [r, r])].map(([v, t]) => h("option", { value: v, selected: v === source }, t)))),
        field("from", `From, ${zoneName()}`, from), field("to", "To", to), h("button", { disabled: loading }, "Load"),
        own && h("span", { class: "row" }, [["last hour", 1], ["6 h", 6], ["24 h", 24]].map(([t, n]) => h("button", { type: "button", class: "small", onclick: reach(n) }, t)))),
      error && h("p", { class: "notice bad", role: "alert" }, error),
      data?.cut && h("p", { class: "notice warn" }, `Shown until ${stamp(data.to * 1000)}: at most 31 days or 10,000 decisions at once. Choose a later beginning for the rest.`),
      !loading && data && !data.course.t.length && h("p", { class: "notice warn" }, "Nothing was recorded in this period."),
      loading && h("p", { class: "muted", role: "status" }, "Reading …"));
    // What was typed stays in a field until it is set as a property.
    for (const [name, t] of [["from", from], ["to", to]]) {
      const f = head.querySelector(`input[name=${name}]`);
      if (f !== document.activeElement) f.value = t ? local(t * 1000) : "";
    }
  }

  function player() {
    if (!data?.course.t.length) { show(bar); return; }
    show(bar,
      h("button", { class: "primary", "aria-label": playing ? "Pause" : "Play", onclick: () => { playing = !playing; if (playing && at >= data.to) at = data.from; player(); if (playing) run(); } }, playing ? "Pause" : "Play"),
      h("label", { class: "check" }, "Speed", h("select", { name: "speed", onchange: e => { speed = Number(e.target.value); } }, SPEEDS.map(s => h("option", { value: s, selected: s === speed }, `${s} ×`)))),
      h("input", { type: "range", name: "at", "aria-label": "Time", "aria-valuetext": stamp(at * 1000), min: data.from, max: data.to, step: data.course.bucket_s, oninput: e => { at = Number(e.target.value); moment(); } }),
      // Not an output: its every change would be read out while it plays.
      h("span", { class: "moment" }, h("strong", {}, clock(at * 1000)), h("small", {}, ` ${day(at * 1000)}`)));
    bar.querySelector("input[type=range]").value = String(at);
  }

  function run() {
    last = performance.now();
    const step = now => {
      if (!playing) return;
      at = Math.min(data.to, at + (now - last) / 1000 * speed);
      last = now;
      if (at >= data.to) playing = false;
      cursor();
      // The picture and the words are for people: a few times a second.
      if (now - shown > 200 || !playing) { shown = now; moment(); }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  const mark = (u, line) => line.style.setProperty("--x", `${u.valToPos(at, "x").toFixed(1)}px`);
  function cursor() { charts.forEach(c => mark(c.u, c.line)); }

  function decided(name) {
    const all = steps(name), s = all[before(all, at, s => s.t)];
    return h("section", { class: "card" }, h("header", {}, h("h2", {}, called(name)), s && h("span", { class: "muted" }, `${clock(s.at)} `, s.seq && source === "log" ? link(s.seq) : null)),
      s ? [h("p", {}, h("strong", {}, Object.entries(s.setpoints ?? {}).map(([n, v]) => `${words(n)} ${value(v, site.setpoints.find(x => x.name === n)?.unit)}`).join(", ") || "nothing set")),
        h("p", { class: "muted" }, `by ${BY[s.by] ?? s.by}`, s.intervened ? ", changed by the guard" : "", s.replaced ? `; ${REPLACED[s.replaced] ?? words(s.replaced)}` : ""),
        s.rationale && h("blockquote", {}, s.rationale)] : h("p", { class: "muted" }, "No decision yet at this time."));
  }

  function frame() {
    const i = before(data.course.t, at, t => t), of = list => Object.fromEntries(list.map(s => { const v = data.course.series[s.name]?.mean[i] ?? null; return [s.name, { value: v, unit: s.unit, quality: v === null ? "missing" : "good" }]; }));
    return { time: new Date(at * 1000).toISOString(), signals: of(site.signals), setpoints: of(site.setpoints) };
  }

  function moment() {
    player(); cursor();
    if (!data?.course.t.length) { show(below); return; }
    show(below, h("section", { class: "card" }, h("header", {}, h("h2", {}, "Plant"), h("span", { class: "muted" }, `as recorded at ${clock(at * 1000)}`)), plant(site, frame())),
      h("div", { class: "stack" }, decided(solid), dashed && decided(dashed)));
  }

  // What-ifs

  async function decide(e) {
    e.preventDefault();
    const f = e.target.elements, note = e.target.querySelector(".error");
    note.textContent = "";
    try {
      const { id } = await api("/api/replay/runs", { source, from: iso(from), to: iso(to), with: f.with.value || null });
      runs = (await api("/api/replay/runs")).runs;
      wait(String(id));
    } catch (x) { note.textContent = x.message; }
    whatifs();
  }

  async function wait(id) {
    while (!gone) {
      const r = await api(`/api/replay/runs/${id}`).catch(() => null);
      if (!r) return;
      runs = runs.map(x => String(x.id) === id ? r : x);
      if (r.state === "done") { await choose("dashed", id); return; }
      whatifs();
      if (r.state !== "running") return;
      await new Promise(done => setTimeout(done, 1000));
    }
  }

  async function choose(which, name) {
    if (name && name !== RECORDED && !reports[name]) {
      const r = await api(`/api/replay/runs/${name}`).catch(() => null);
      if (!r?.report) return;
      for (const s of r.report.steps ?? []) s.t = Date.parse(s.at) / 1000;
      reports[name] = { ...r.report, steps: r.report.steps ?? [] };
    }
    if (which === "solid") solid = name; else dashed = name;
    whatifs(); build(); moment();
  }

  function differences() {
    if (!dashed) return null;
    const a = new Map(steps(solid).map(s => [s.at, s])), pairs = steps(dashed).filter(s => a.has(s.at)).map(s => [a.get(s.at), s]);
    const rows = site.setpoints.map(s => {
      const d = pairs.map(([x, y]) => y.setpoints?.[s.name] - x.setpoints?.[s.name]).filter(v => !Number.isNaN(v));
      return [s, d.length, d.filter(v => Math.abs(v) > 1e-9).length, d.reduce((x, y) => x + y, 0) / d.length];
    });
    const report = reports[dashed];
    return [h("h3", {}, `${called(dashed)}, against ${called(solid)}`),
      h("p", {}, `${num(steps(dashed).length, 0)} decisions, ${num(pairs.length, 0)} of them at the same times. `, report && `The guard changed ${num(report.interventions, 0)}, the fallback made ${num(report.fallbacks, 0)}.`),
      scroll("Differences by setpoint", h("table", {}, h("thead", {}, h("tr", {}, ["Setpoint", "Compared", "Different", "Mean difference"].map((t, i) => h("th", { scope: "col", class: i ? "n" : "" }, t)))),
        h("tbody", {}, rows.map(([s, n, k, mean]) => h("tr", {}, h("td", {}, words(s.name)), h("td", { class: "n" }, num(n, 0)), h("td", { class: "n" }, num(k, 0)), h("td", { class: "n" }, n ? `${num(mean, 2)} ${s.unit === "degC" ? "K" : unit(s.unit)}` : "–"))))))];
  }

  function whatifs() {
    const allowed = !store.session?.login || may("operator"), done = runs.filter(r => r.state === "done").map(r => String(r.id)), busy = runs.some(r => r.state === "running");
    const compare = (which, label, chosen, extra) => h("label", {}, label, h("select", { name: which, onchange: e => choose(which, e.target.value) }, [...extra, ...done].map(n => h("option", { value: n, selected: n === chosen }, n ? called(n) : "nothing"))));
    show(made, h("header", {}, h("h2", { id: "h-whatif" }, "What if"), h("span", { class: "muted" }, "decides this period again, beside the control loop")),
      h("form", { "aria-label": "Decide again", onsubmit: decide }, h("div", { class: "row" },
        h("label", {}, "With", h("select", { name: "with" }, [["", "the settings as they are"], ...(sources?.settings ?? []).map(s => [s, s])].map(([v, t]) => h("option", { value: v }, t)))),
        h("button", { class: "primary", disabled: !allowed || busy || !data?.course.t.length }, "Decide again")),
        h("p", { class: "error", role: "alert" }),
        !allowed && h("p", { class: "hint" }, "This takes the role operator: it takes the machine's time."),
        !sources?.folder && h("p", { class: "hint" }, "Other site files, models, prompts and traces come from the folder that recordings under [console] names.")),
      h("div", { class: "row" }, compare("solid", "Solid line", solid, [RECORDED]), compare("dashed", "Dashed line", dashed, ["", RECORDED])),
      h("div", {}, differences()),
      h("ul", { class: "plainlist", "aria-label": "What-ifs" }, runs.slice().reverse().map(r => h("li", { "data-key": `w${r.id}` }, h("div", {}, h("strong", {}, `${r.id}. ${r.wanted.with ?? "settings as they are"}`), ` on ${r.wanted.source === "log" ? "the log" : r.wanted.source}, ${stamp(r.wanted.from)}, ${span((Date.parse(r.wanted.to) - Date.parse(r.wanted.from)) / 1000)}`),
        h("span", { class: r.state === "failed" ? "bad" : "muted" }, r.state === "failed" ? `failed: ${r.error}` : r.state),
        r.state === "running" && h("button", { class: "small", disabled: !allowed, onclick: async () => { await api(`/api/replay/runs/${r.id}/stop`, {}).catch(() => {}); } }, "Stop")))));
  }

  // Charts: one for each setpoint, with both runs; and what was measured.

  function chart(title, unit_, x, series, table, height, bands = []) {
    const box = h("div"), line = h("div", { class: "at" }), width = () => Math.max(200, box.clientWidth);
    list.append(h("section", { class: "card chart", "aria-label": `${title} over the period` }, h("h2", {}, title, h("span", { class: "muted" }, unit(unit_) ? ` ${unit(unit_)}` : "")),
      h("ul", { class: "keys" }, series.filter(s => s.name).map(s => h("li", {}, h("span", { class: "key" }, h("span", { class: `swatch ${s.dash ? "step" : ""}`, vars: { "--c": s.stroke } }), s.name)))), box));
    const u = new uPlot({
      width: width(), height, legend: { show: false }, padding: [8, 14, 0, 0], tzDate: t => uPlot.tzDate(new Date(t * 1000), zoneName()),
      cursor: { sync: { key: "replay" }, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: true, range: () => [data.from, data.to] }, y: { range: (_, lo, hi) => lo === null ? [0, 1] : uPlot.rangeNum(lo, hi, .1, true) } },
      // A chart knows its scale only once it is drawn.
      hooks: { draw: [u => mark(u, line)] },
      axes: axes(), series: [{}, ...series.map(({ name, ...s }) => ({ ...s, points: { show: false } }))], bands,
    }, [x, ...table], box);
    u.over.addEventListener("click", e => { at = u.posToVal(e.offsetX, "x"); moment(); });
    u.over.append(line);
    charts.push({ u, width, line });
  }

  function build() {
    charts.forEach(c => c.u.destroy());
    charts = []; list.replaceChildren();
    if (!data?.course.t.length) return;
    const { t, series } = data.course, stepped = uPlot.paths.stepped({ align: 1 }), linear = uPlot.paths.linear();
    const moments = [...new Set([...t, ...steps(solid).map(s => s.t), ...(dashed ? steps(dashed).map(s => s.t) : [])])].filter(x => x >= data.from && x <= data.to).sort((a, b) => a - b);
    const held = (name, sp) => { const all = steps(name); return moments.map(x => all[before(all, x, s => s.t)]?.setpoints?.[sp] ?? null); };
    for (const s of site.setpoints) {
      const lines = [{ name: "in the plant", stroke: css("--muted"), width: 1.2, paths: stepped }, { name: called(solid), stroke: COLOURS[0], width: 2.2, paths: stepped }];
      const table = [moments.map(x => { const i = before(t, x, v => v); return series[s.name]?.mean[i] ?? null; }), held(solid, s.name)];
      if (dashed) { lines.push({ name: called(dashed), stroke: COLOURS[1], width: 2.2, dash: [7, 4], paths: stepped }); table.push(held(dashed, s.name)); }
      chart(words(s.name), s.unit, moments, lines, table, 170);
    }
    for (const g of groups(site)) {
      const cols = g.cols.filter(s => !s.setpoint && series[s.name]?.mean.some(v => v !== null));
      if (!cols.length) continue;
      // A line for the mean, and a band between the extremes: a peak within a bucket is seen at any zoom.
      const colour = i => COLOURS[i % COLOURS.length], edge = { stroke: "transparent", paths: linear };
      const lines = cols.flatMap((s, i) => [{ name: words(s.name), stroke: colour(i), width: 1.6, paths: linear }, edge, edge]);
      const bands = cols.map((s, i) => ({ series: [2 + 3 * i, 3 + 3 * i], fill: colour(i) + "38" }));
      chart(g.title, g.unit, t, lines, cols.flatMap(s => [series[s.name].mean, series[s.name].max, series[s.name].min]), 170, bands);
    }
  }

  function draw() { form(); moment(); whatifs(); }

  let gone = false;
  const off = onChange(what => { if (what === "theme") build(); if (what === "session") draw(); });
  const sized = new ResizeObserver(() => { charts.forEach(c => c.u.setSize({ width: c.width(), height: c.u.height })); cursor(); });
  sized.observe(list);
  draw();
  look().then(() => runs.filter(r => r.state === "running").forEach(r => wait(String(r.id))));
  return () => { gone = true; playing = false; off(); sized.disconnect(); charts.forEach(c => c.u.destroy()); };
}
