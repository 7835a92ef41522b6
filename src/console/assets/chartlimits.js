// Limits on a chart: those of the site file as lines across, those that move as lines of their own.

import { css } from "/assets/charts.js";
import { figure, unit, words } from "/assets/text.js";

/** Where a limit is drawn alike for several values, it is drawn once. */
function once(list) {
  const seen = new Set();
  return list.filter(l => { const key = `${l.what} ${l.value}`; if (seen.has(key)) return false; seen.add(key); return true; });
}

/** Limits that stay, of the values of a group that are shown. */
export function fixed(group, hidden) {
  const of = s => s.setpoint
    ? [["min", s.min], ["max", s.max]].map(([edge, v]) => ({ what: `${words(s.name)} ${edge}`, value: v, colour: s.colour, dash: [2, 5], hard: true }))
    : (s.limits ?? []).map(l => ({ what: l.what, value: l.value, colour: l.what === "allowable" ? null : s.colour, dash: l.what === "allowable" ? [] : [8, 5], hard: l.what === "allowable" }));
  return once(group.cols.filter(s => !hidden.has(s.name)).flatMap(of));
}

const add = (line, by) => line?.map(v => v === null ? null : v + by);

/** Limits that move: a name, and a value for each point of the course. */
export function moving(group, site, course, hidden) {
  const shown = group.cols.filter(s => !hidden.has(s.name)), roles = new Set(shown.map(s => s.role)), out = [];
  const wet = new Set(site.floors.filter(f => f.rule === "condensation").map(f => f.name));
  if (shown.some(s => wet.has(s.name))) out.push({ what: `dew point + ${figure(site.dew_margin, "K")} K`, values: add(course.series.dew_point?.max, site.dew_margin) });
  const approach = site.envelope.min_approach, water = site.signals.filter(s => s.role === "facility_supply").map(s => course.series[s.name]?.max).filter(Boolean);
  if (roles.has("liquid_supply") && approach !== null && water.length) {
    const warmest = water[0].map((_, i) => water.some(w => w[i] === null) ? null : Math.max(...water.map(w => w[i])));
    out.push({ what: `facility water + ${figure(approach, "K")} K`, values: add(warmest, approach) });
  }
  return out.filter(l => l.values?.some(v => v !== null && v !== undefined));
}

/** Both kinds in words, for those who do not see the lines. */
export function inWords(group, site, course, hidden) {
  const all = [...fixed(group, hidden).map(l => `${l.what} ${figure(l.value, group.unit)}`), ...moving(group, site, course, hidden).map(l => l.what)];
  return all.length ? `Limits, ${unit(group.unit) || "number"}: ${all.join(", ")}` : "";
}

/** The least and the most that has to be in sight for all limits to be. */
export const extremes = (group, site, course, hidden) => {
  const all = [...fixed(group, hidden).map(l => l.value), ...moving(group, site, course, hidden).flatMap(l => l.values.filter(v => v !== null && v !== undefined))];
  return all.reduce(([lo, hi], v) => [Math.min(lo, v), Math.max(hi, v)], [Infinity, -Infinity]);
};

/** Draws them under the lines of the values. */
export function drawLimits(u, group, site, course, hidden) {
  const { ctx, bbox } = u, px = devicePixelRatio, bad = css("--bad"), taken = [];
  ctx.save();
  ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
  ctx.font = `${10 * px}px system-ui, sans-serif`; ctx.textAlign = "left"; ctx.textBaseline = "bottom";
  const label = (text, x, y, colour) => {
    // Where two would lie on each other, the words below the chart say both.
    if (taken.some(t => Math.abs(t - y) < 11 * px)) return;
    taken.push(y);
    ctx.globalAlpha = 1; ctx.fillStyle = colour; ctx.fillText(text, x, y - px);
  };
  for (const l of fixed(group, hidden)) {
    const y = u.valToPos(l.value, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.strokeStyle = l.colour ?? bad; ctx.globalAlpha = .8; ctx.lineWidth = (l.colour ? 1 : 1.5) * px; ctx.setLineDash(l.dash.map(d => d * px));
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    label(`${l.what} ${figure(l.value, group.unit)}`, bbox.left + 4 * px, y, l.colour ? css("--muted") : bad);
  }
  for (const l of moving(group, site, course, hidden)) {
    ctx.strokeStyle = bad; ctx.globalAlpha = .9; ctx.lineWidth = 1.5 * px; ctx.setLineDash([10 * px, 3 * px, 2 * px, 3 * px]);
    ctx.beginPath();
    let pen = false, last = null;
    course.t.forEach((t, i) => {
      const v = l.values[i];
      if (v === null || v === undefined) { pen = false; return; }
      const x = u.valToPos(t, "x", true), y = u.valToPos(v, "y", true);
      if (pen) ctx.lineTo(x, y); else ctx.moveTo(x, y);
      pen = true; last = y;
    });
    ctx.stroke();
    if (last !== null) { const w = ctx.measureText(l.what).width; label(l.what, bbox.left + bbox.width - w - 4 * px, last, bad); }
  }
  ctx.restore();
}
