// How far values may go: the site file's limits, and those that move with the room's dew point and the facility water.

import { store } from "/assets/store.js";

const BY_RULE = { condensation: "dew point", approach: "approach" };

/** All limits of a signal or a setpoint, each with its edge and what it is; `value` is null where it is not known now. */
export function limitsOf(s) {
  const floors = (store.state.floors ?? []).filter(f => f.name === s.name);
  return [...s.limits ?? [], ...floors.map(f => ({ what: BY_RULE[f.rule] ?? f.rule, edge: "low", value: f.limit, emergency: false, moves: true }))];
}

/** Of each kind of limit the edge that is nearest to a value, with what is left to it; the nearest first, what is not
 * known last. */
export function marginsOf(s, v) {
  const left = l => v === null || v === undefined || l.value === null ? null : l.edge === "high" ? l.value - v : v - l.value;
  const all = limitsOf(s).map(l => ({ ...l, left: left(l) })).sort((a, b) => (a.left ?? Infinity) - (b.left ?? Infinity));
  return all.filter((l, i) => all.findIndex(x => x.what === l.what) === i);
}
