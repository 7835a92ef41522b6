// What the charts of several views have in common.

import { clock, day, unit, zoneName } from "/assets/text.js";

export const COLOURS = ["#2a86b8", "#cf6a17", "#46965a", "#b8487d", "#8468cc", "#a58a12", "#2fa0a0", "#96705a", "#5c7fd6", "#c2514b"];
const GROUPS = [
  ["Air and IT temperatures", s => s.unit === "degC" && (!s.role || ["it_inlet", "crah_supply", "bath", "room_dry_bulb", "room_dew_point"].includes(s.role))],
  ["Water and liquid temperatures", s => s.unit === "degC" && /chw|facility|liquid/.test(s.role ?? "")],
  ["Power", s => s.unit === "kW" || s.unit === "W"],
  ["PUE", s => s.name === "pue"],
  ["Outdoors", s => s.unit === "degC" && /outdoor/.test(s.role ?? "")],
  ["Chips", s => s.role === "chip_temp"],
];
const AXIS = 58;

/** Signals and setpoints in charts of one unit each. */
export function groups(site) {
  const all = [...site.signals.map(s => ({ ...s })), ...site.setpoints.map(s => ({ ...s, setpoint: true }))];
  if (site.columns.includes("pue")) all.push({ name: "pue", unit: "" });
  const taken = new Set(), list = [];
  for (const [title, fits] of GROUPS) {
    const cols = all.filter(s => !taken.has(s.name) && fits(s));
    cols.forEach(s => taken.add(s.name));
    if (cols.length) list.push({ title, unit: cols[0].unit, cols });
  }
  const NAMES = { "%": "Speeds and valves", "L/min": "Flow", kPa: "Pressure", "%RH": "Humidity", count: "Machines" };
  for (const s of all.filter(s => !taken.has(s.name))) {
    let g = list.find(g => g.unit === s.unit && g.rest);
    if (!g) { g = { title: NAMES[s.unit] ?? unit(s.unit), unit: s.unit, cols: [], rest: true }; list.push(g); }
    g.cols.push(s);
  }
  return list;
}

export const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Time below, numbers to the left. */
export function axes() {
  const look = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") }, font: "11px system-ui, sans-serif" };
  const time = new Intl.DateTimeFormat("en-GB", { timeZone: zoneName(), hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return [
    { ...look, size: 32, values: (self, splits, axis, space, incr) => splits.map(s => incr < 60 ? clock(s * 1000) : incr >= 86400 || time.format(s * 1000) === "00:00" ? day(s * 1000).slice(5) : time.format(s * 1000)) },
    { ...look, size: AXIS, values: (self, splits) => splits.map(v => `${Math.abs(v) >= 10000 ? v / 1000 + "k" : +v.toFixed(3)}`) },
  ];
}
