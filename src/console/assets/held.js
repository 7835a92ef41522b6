// What is in somebody's hands: an operator's here, or at the plant itself.

import { setpointOf } from "/assets/decision.js";
import { h } from "/assets/dom.js";
import { now, store } from "/assets/store.js";
import { moment, span, value, words } from "/assets/text.js";

const left = until => `${span(Math.max(0, (Date.parse(until) - now()) / 1000))} left, until ${moment(until, store.state.time)}`;

/** Who holds a setpoint, since when and why. */
export const told = o => [
  h("strong", {}, words(o.setpoint)), ` held at ${value(o.value, setpointOf(o.setpoint)?.unit)}`,
  o.who && ` by ${o.who}`, o.from && ` since ${moment(o.from, store.state.time)}`, ": ", o.until ? left(o.until) : "until it is given back",
  o.why && h("span", { class: "muted" }, ` (${o.why})`),
];

export const changed = m => [
  h("strong", {}, words(m.setpoint)), ` changed at the plant itself at ${moment(m.from, store.state.time)}: left alone, ${left(m.until)}`,
];

/** Who wanted something, since when and why; nothing where nobody is known to. */
export const given = g => g && [` by ${g.who} since ${moment(g.from, store.state.time)}`, h("span", { class: "muted" }, ` (${g.why})`)];

const released = st => [h("strong", {}, "the whole plant"), " released", given(st.mode_given) ?? " by the site file: mode manual"];

/** All of them; nothing where there are none. */
export function held() {
  const st = store.state;
  const all = [...(st.mode === "manual" ? [released(st)] : []), ...(st.overrides ?? []).map(told), ...(st.manual_holds ?? []).map(changed)];
  return all.length > 0 && h("section", { class: "card", "aria-labelledby": "h-held" },
    h("header", {}, h("h2", { id: "h-held" }, "Held by hand"), h("a", { href: "/act", "data-link": true }, "give back")),
    h("ul", { class: "plainlist" }, all.map(text => h("li", {}, h("div", {}, text)))));
}
