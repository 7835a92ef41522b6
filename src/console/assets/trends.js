// Every value over time, with its limits, and what was decided when. Zoom by dragging over a chart.

import { h, show } from "/assets/dom.js";
import { drawLimits, extremes, inWords } from "/assets/chartlimits.js";
import { COLOURS, axes, css, groups } from "/assets/charts.js";
import { line } from "/assets/decision.js";
import { go } from "/assets/app.js";
import { api, onChange, onFrames, store } from "/assets/store.js";
import { day, hourMinute, span, stamp, unit, value, words, zoneName } from "/assets/text.js";

const RANGES = [["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 days", 604800], ["30 days", 2592000], ["1 year", 31536000]];
/** So many decisions, acts and events are marked at most: two weeks of a decision every five minutes. */
const MOST_MARKS = 4000;
/** And so many are listed at a time. */
const LISTED = 12;

export function trends(place, query) {
  const site = store.site;
  let live = Number(query.get("span")) || 3600, window_ = query.get("from") ? [Number(query.get("from")), Number(query.get("to"))] : null;
  let course = null, marks = [], older = false, bounds = [0, 0], error = "", charts = [], dirty = false, token = 0;
  let listed = [], more = null, inSight = true;
  const hidden = new Set();

  const head = h("div", { class: "ranges", role: "group", "aria-label": "Time range" }), list = h("div", { class: "charts" }), events = h("section", { class: "card" });
  show(place);
  place.append(h("h1", { class: "sr" }, "Trends"), head, list, events);

  const newest = () => Math.max(bounds[1], Date.parse(store.state.time) / 1000 || 0);
  const range = () => window_ ?? [newest() - live, newest()];
  const iso = s => new Date(s * 1000).toISOString();

  async function load() {
    const mine = ++token, [from, to] = range();
    try {
      const points = Math.max(200, Math.min(1500, Math.round(list.clientWidth || 800)));
      const got = await api(`/api/series?from=${iso(from)}&to=${iso(to)}&points=${points}`);
      if (mine !== token) return;
      course = got.course; bounds = [got.oldest, got.newest]; error = "";
      draw();
      const found = [];
      let next = null;
      do {
        const page = await api(`/api/decisions?brief=true&kinds=decision,operator,event&since=${iso(from)}&until=${iso(to + 1)}&limit=500${next ? `&before=${next}` : ""}`);
        if (mine !== token) return;
        found.push(...page.items);
        next = page.next;
      } while (next && found.length < MOST_MARKS);
      [marks, older] = [found, Boolean(next)];
      await list_(mine);
    } catch (e) { if (mine === token) error = e.message; }
    if (mine === token) draw();
  }

  /** The records of the window, newest first: those of the past come from the log. */
  async function list_(mine, further) {
    const [from, to] = range();
    const page = await api(`/api/decisions?kinds=decision,operator,event&since=${iso(from)}&until=${iso(to + 1)}&limit=${LISTED}${further ? `&before=${further}` : ""}`);
    if (mine !== token) return;
    listed = further ? [...listed, ...page.items] : page.items;
    more = page.next;
  }

  function set(from, to, span_) {
    window_ = from === null ? null : [from, to];
    if (span_) live = span_;
    const q = window_ ? `from=${Math.round(from)}&to=${Math.round(to)}` : `span=${live}`;
    history.replaceState(null, "", `/trends?${q}`);
    load();
  }
  function shift(by) { const [a, b] = range(), w = b - a; set(a + by * w, Math.min(b + by * w, newest() + w * .1)); }
  function zoomIn() { const [a, b] = range(), w = b - a; if (w > 60) set(a + w / 4, b - w / 4); }
  function zoomOut() { const [a, b] = range(), w = b - a; if (!window_) set(null, null, Math.min(live * 2, 31536000)); else set(a - w / 2, Math.min(b + w / 2, newest())); }

  function controls() {
    const [from, to] = range();
    show(head,
      RANGES.map(([label, s]) => h("button", { "aria-pressed": String(!window_ && live === s), onclick: () => set(null, null, s) }, label)),
      h("button", { onclick: () => shift(-.5), "aria-label": "Earlier" }, "←"), h("button", { onclick: () => shift(.5), disabled: !window_, "aria-label": "Later" }, "→"),
      h("button", { onclick: zoomIn }, "Zoom in"), h("button", { onclick: zoomOut }, "Zoom out"),
      h("button", { "aria-pressed": String(inSight), title: "The scales reach to every limit, or only to what was measured", onclick: () => { inSight = !inSight; draw(); } }, "Limits in sight"),
      h("span", { class: "muted" }, `${stamp(from * 1000)} to ${day(from * 1000) === day(to * 1000) ? "" : day(to * 1000) + " "}${hourMinute(to * 1000)} ${zoneName()}`, course && `, one point ${course.bucket_s <= site.sample_s ? "a sample" : `is ${span(course.bucket_s)} with its extremes`}`, !window_ && ", live"),
      h("span", { class: "grow" }),
      h("a", { class: "button", href: `/api/series?format=csv&from=${iso(from)}&to=${iso(to)}&points=5000`, download: "" }, "Export CSV"),
      error && h("p", { class: "notice bad", role: "alert" }, error));
  }

  const drawn = () => { const [from, to] = range(); return marks.filter(m => { const t = Date.parse(m.time) / 1000; return t >= from && t <= to; }); };

  function hooks(group, keys) {
    return {
      drawClear: [u => {
        if (course) drawLimits(u, group, limited(), course, hidden);
      }],
      draw: [u => {
        const { ctx, bbox } = u, px = devicePixelRatio;
        ctx.save();
        for (const m of drawn()) {
          const x = u.valToPos(Date.parse(m.time) / 1000, "x", true);
          const [colour, length] = m.kind === "operator" ? [css("--accent"), 1] : m.kind === "event" ? (m.alarm ? [css("--bad"), 1] : [null, 0]) : m.intervened || m.unverified ? [css("--warn"), .16] : [css("--muted"), .06];
          if (!colour) continue;
          ctx.fillStyle = colour; ctx.globalAlpha = length === 1 ? .55 : 1;
          ctx.fillRect(x - px / 2, bbox.top + bbox.height * (1 - length), length === 1 ? px : 2 * px, bbox.height * length);
        }
        ctx.restore();
      }],
      setSelect: [u => {
        if (u.select.width < 4) return;
        const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        if (to - from > 2) set(from, to);
      }],
      setCursor: [u => { const i = u.cursor.idx; keys.forEach((key, k) => { const v = i === null || i === undefined ? undefined : u.data[1 + 3 * k][i]; key.textContent = v === undefined ? "" : ` ${value(v, group.unit)}`; }); }],
      ready: [u => u.over.addEventListener("click", e => {
        const x = e.offsetX, near = drawn().map(m => [Math.abs(u.valToPos(Date.parse(m.time) / 1000, "x") - x), m]).filter(([d, m]) => d < 5 && (m.kind !== "event" || m.alarm)).sort((a, b) => a[0] - b[0])[0];
        if (near) go(`/decisions/${near[1].seq}`);
      })],
    };
  }

  /** A scale that shows how near all limits are, if that is wanted. */
  function withLimits(group, lo, hi) {
    if (!inSight) return [lo, hi];
    const [a, b] = extremes(group, limited(), course, hidden);
    return [Math.min(lo, a), Math.max(hi, b)];
  }
  const limited = () => ({ ...site, floors: store.state.floors ?? [] });

  function table(group) {
    const lines = group.cols.map(s => course.series[s.name] ?? { mean: [], min: [], max: [] });
    return [course.t, ...lines.flatMap(l => [l.mean, l.max, l.min])];
  }

  function build() {
    charts.forEach(c => c.u.destroy());
    charts = []; list.replaceChildren();
    for (const group of groups(site)) {
      const keys = [], box = h("div"), limits = h("p", { class: "legend" }), width = () => Math.max(200, box.clientWidth);
      const buttons = group.cols.map((s, i) => {
        s.colour = COLOURS[i % COLOURS.length];
        const at = h("span", { class: "muted" });
        keys.push(at);
        return h("li", {}, h("button", { class: "small", "aria-pressed": String(!hidden.has(s.name)), onclick: e => {
          if (hidden.has(s.name)) hidden.delete(s.name); else hidden.add(s.name);
          e.currentTarget.setAttribute("aria-pressed", String(!hidden.has(s.name)));
          [1, 2, 3].forEach(k => u.setSeries(i * 3 + k, { show: !hidden.has(s.name) }));
          draw();
        } }, h("span", { class: `swatch ${s.setpoint ? "step" : ""}`, vars: { "--c": s.colour } }), words(s.name), at));
      });
      list.append(h("section", { class: "card chart", "aria-label": `${group.title} over time` }, h("h2", {}, group.title, h("span", { class: "muted" }, unit(group.unit) ? ` ${unit(group.unit)}` : "")), h("ul", { class: "keys" }, buttons), box, limits));
      const stepped = uPlot.paths.stepped({ align: 1 }), linear = uPlot.paths.linear();
      const series = group.cols.flatMap(s => {
        const shown = !hidden.has(s.name), paths = s.setpoint ? stepped : linear;
        const edge = { stroke: "transparent", points: { show: false }, show: shown, paths };
        return [{ stroke: s.colour, width: s.setpoint ? 1.6 : 1.8, dash: s.setpoint ? [6, 3] : undefined, points: { show: false }, show: shown, paths }, edge, { ...edge }];
      });
      const u = new uPlot({
        width: width(), height: group.title.startsWith("Air") ? 260 : 190, legend: { show: false }, padding: [8, 14, 0, 0],
        tzDate: t => uPlot.tzDate(new Date(t * 1000), zoneName()),
        cursor: { sync: { key: "trends" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
        scales: { x: { time: true, range: () => range() }, y: { range: (_, lo, hi) => lo === null ? [0, 1] : uPlot.rangeNum(...withLimits(group, lo, hi), .08, true) } },
        axes: axes(),
        series: [{}, ...series], bands: group.cols.map((s, i) => ({ series: [2 + 3 * i, 3 + 3 * i], fill: s.colour + "38" })),
        hooks: hooks(group, keys),
      }, table(group), box);
      charts.push({ u, group, box, width, limits });
    }
    charts.forEach(tell);
  }
  const tell = c => show(c.limits, inWords(c.group, limited(), course, hidden));

  function draw() {
    controls();
    if (!course) return;
    if (!charts.length) build();
    else charts.forEach(c => c.u.setData(table(c.group)));
    charts.forEach(tell);
    inWindow();
  }
  function inWindow() {
    const [from, to] = range(), all = drawn();
    // What has come since the log was asked.
    const fresh = store.records.filter(r => ["decision", "operator", "event"].includes(r.kind) && Date.parse(r.time) / 1000 >= from && Date.parse(r.time) / 1000 <= to && r.seq > (listed[0]?.seq ?? 0) && !window_).reverse();
    const n = kind => all.filter(m => m.kind === kind).length, within = `from=${Math.floor(from)}&to=${Math.ceil(to)}`;
    const part = (count, one, many, q) => count > 0 ? h("a", { href: `/decisions?${q}&${within}`, "data-link": true }, `${count} ${count === 1 ? one : many}`) : `no ${many}`;
    show(events, h("header", {}, h("h2", {}, "In this window"), h("span", { class: "muted" }, part(n("decision"), "decision", "decisions", "what=decision"), ", ", part(all.filter(m => m.intervened).length, "changed by the guard", "changed by the guard", "intervened=1"), ", ", part(n("operator"), "operator's act", "operators' acts", "what=operator"), ", ", part(n("event"), "event", "events", "what=event"), older && ` (the newest ${marks.length})`)),
      h("p", { class: "legend" }, "Ticks at the foot of each chart: decisions; taller and amber: changed by the guard or unverified. Full height: operators' acts, and alarms in red. A click opens the record. Red: allowable at most, and what dew point and facility water allow; dashed: recommended and operating bands, minima; dotted: setpoint limits."),
      fresh.length + listed.length > 0 ? h("ul", { class: "feed" }, [...fresh, ...listed].map(line)) : h("p", { class: "muted" }, "Nothing was decided or done."),
      more && h("p", {}, h("button", { onclick: () => list_(token, more).then(draw, e => { error = e.message; draw(); }) }, "Show older")));
  }

  const off = [
    onFrames(frames => {
      if (!course || window_) return;
      for (const f of frames) {
        if (f.t <= (course.t.at(-1) ?? 0)) continue;
        course.t.push(f.t);
        site.columns.forEach((name, i) => { const l = course.series[name]; if (l) { l.mean.push(f.v[i]); l.min.push(f.v[i]); l.max.push(f.v[i]); } });
      }
      bounds[1] = Math.max(bounds[1], course.t.at(-1) ?? 0);
      dirty = true;
    }),
    onChange(what => {
      if (what === "reset") load();
      if (what === "theme" && course) build();
      if (what === "records") for (const r of store.records.slice(-5)) if (!marks.some(m => m.seq === r.seq) && r.kind !== "outcome") { marks.unshift({ seq: r.seq, time: r.time, kind: r.kind, intervened: r.verdict?.intervened, unverified: r.claims?.verified === false, alarm: r.alarm === true }); dirty = true; }
    }),
  ];
  const paint = setInterval(() => {
    if (!dirty || !course || document.hidden) return;
    dirty = false;
    if (course.t.length > 6000) load(); else draw();
  }, 1000);
  const refresh = setInterval(() => { if (!window_ && course && course.bucket_s > 2 * site.sample_s) load(); }, 60000);
  const sized = new ResizeObserver(() => charts.forEach(c => c.u.setSize({ width: c.width(), height: c.u.height })));
  sized.observe(list);
  load();
  return () => { off.forEach(f => f()); clearInterval(paint); clearInterval(refresh); sized.disconnect(); charts.forEach(c => c.u.destroy()); };
}
