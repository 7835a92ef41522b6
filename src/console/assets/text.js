// How numbers, times and names are written. Every number has its unit.

const UNITS = { degC: "°C", degF: "°F", "%RH": "% RH", count: "", flag: "", "L/min": "L/min", "m3/h": "m³/h" };
const DECIMALS = { degC: 1, degF: 1, K: 1, kPa: 0, bar: 2, kW: 0, W: 0, kWh: 0, "L/min": 0, "m3/h": 1, "%": 0, "%RH": 0, Hz: 1, rpm: 0, count: 0, flag: 0 };

export const unit = u => UNITS[u] ?? u;
/** The unit of a difference. */
export const deltaUnit = u => u === "degC" || u === "degF" ? "K" : unit(u);

export const num = (v, decimals = 1) => {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  const text = Math.abs(v).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replaceAll(",", "\u2009");
  return (v < 0 && Number(v.toFixed(decimals)) !== 0 ? "\u2212" : "") + text;
};
export const figure = (v, u) => num(v, DECIMALS[u] ?? 1);
export const value = (v, u) => v === null || v === undefined ? "–" : `${figure(v, u)}${unit(u) ? "\u00a0" + unit(u) : ""}`;

export const words = name => String(name ?? "").replaceAll("_", " ");
export const short = hash => hash ? String(hash).slice(0, 12) : "–";

let zone = "UTC";
export const setZone = z => { zone = z; };
export const zoneName = () => zone;
const parts = (t, options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options }).format(new Date(t));
export const clock = t => t ? parts(t, { hour: "2-digit", minute: "2-digit", second: "2-digit" }) : "–";
export const hourMinute = t => t ? parts(t, { hour: "2-digit", minute: "2-digit" }) : "–";
export const day = t => t ? new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(new Date(t)) : "–";
/** The time, with the day when that is not the present one. */
export const moment = (t, present) => t && present && day(t) !== day(present) ? stamp(t) : clock(t);
export const stamp = t => t ? `${day(t)} ${clock(t)}` : "–";
/** What the site's clocks show, as a field for times has it, and back. */
export const local = t => `${day(t)}T${clock(t)}`;
export function fromLocal(text) {
  const wanted = Date.parse(`${text}Z`);
  let t = wanted;
  for (let i = 0; i < 2; i++) t += wanted - Date.parse(`${local(t)}Z`);
  return t;
}

/** 75 → "1 min 15 s". */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 172800) return `${Math.floor(s / 3600)} h${Math.floor(s % 3600 / 60) ? ` ${Math.floor(s % 3600 / 60)} min` : ""}`;
  return `${Math.round(s / 86400)} days`;
}
/** Minutes and seconds for a countdown. */
export const countdown = s => `${Math.floor(Math.max(0, s) / 60)}:${String(Math.floor(Math.max(0, s) % 60)).padStart(2, "0")}`;

export const BY = { model: "model", policy: "controller", fallback: "fallback", operator: "operator", emergency: "guard (emergency)", nobody: "nobody: hold" };
export const REPLACED = {
  model_failed: "the model did not answer", reply_rejected: "the reply was not a decision", claims_unverified: "a claim did not hold",
  low_confidence: "confidence too low", no_model: "no model configured", no_proposal: "the controller had no proposal",
  parked: "the model is parked for want of memory",
};
const FAILURES = {
  late: f => `no answer within ${f.deadline_ms / 1000} s`, died: f => `its process ended (${f.how}) and is started again`, not_running: f => `it is not running: ${f.why}`,
  garbled: f => `its process broke the protocol: ${f.what}`, too_long: f => `the prompt takes ${f.tokens} tokens and the reply up to ${f.reply}; the context holds ${f.context}`,
  schema: f => `the schema was not accepted: ${f.why}`, unfinished: f => `it stopped before the reply was complete, after ${f.tokens} tokens`,
  server: f => `model server ${f.url}: ${f.why}`, compute: f => `its computation failed: ${f.why}`,
};
export const FAILURE = f => f ? FAILURES[f.failure]?.(f) ?? words(f.failure) : "";
export const DISPOSITION = { write: "written", hold: "nothing to change", shadow: "recorded only", advise: "waits for an operator" };
