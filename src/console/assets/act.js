// What a person can do: every act says who and why, the server judges whether they may, and the audit log keeps it.

import { h, show } from "/assets/dom.js";
import { full, link, setpointOf } from "/assets/decision.js";
import { changed, given, told } from "/assets/held.js";
import { api, begin, login, may, now as controlTime, onChange, store } from "/assets/store.js";
import { clock, countdown, figure, unit, value, words } from "/assets/text.js";

/** Tells everyone, screen readers too. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { place.textContent = ""; }, 6000);
}

function dialog(title, content, buttons, submit) {
  const error = h("p", { class: "error", role: "alert" });
  const form = h("form", { method: "dialog", onsubmit: async e => {
    e.preventDefault();
    error.textContent = "";
    const all = [...form.querySelectorAll("button")];
    all.forEach(b => { b.disabled = true; });
    try { const text = await submit(form.elements); box.close(); if (text) say(text); }
    catch (x) { error.textContent = x.message; all.forEach(b => { b.disabled = false; }); }
  } }, h("h2", { id: "dialog-title" }, title), content, error, h("div", { class: "row" }, buttons));
  const box = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => box.remove() }, form);
  document.getElementById("dialogs").append(box);
  box.showModal();
  return box;
}

/** Not a submit button: the first of those is what Enter presses. */
const close = (label, kind = "") => h("button", { type: "button", class: kind, onclick: e => e.target.closest("dialog").close() }, label);
const cancel = () => close("Cancel");

export function logIn() {
  dialog("Log in", [
    h("label", { class: "field" }, "Name", h("input", { name: "name", autocomplete: "username", required: true })),
    h("label", { class: "field" }, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
  ], [cancel(), h("button", { class: "primary", value: "ok" }, "Log in")],
  async f => { await login(f.name.value, f.password.value); return `Logged in as ${store.session.user.name}`; });
}

/** Does an act for a reason given. */
async function perform(what, why) {
  try { return (await api("/api/acts", { ...what, why })).answer; }
  catch (e) { if (e.status === 401) { store.session.user = null; begin(); } throw e; }
}

const who = () => h("p", { class: "hint" }, "Acting as ", h("strong", {}, store.session.user.name), `, ${store.session.user.role}. Name and reason go into the audit log.`);

/** Asks for the reason, then acts. */
function ask(title, text, what, confirm, options = {}) {
  if (!store.session?.user) { cannot(title); return; }
  dialog(title, [h("p", {}, text), h("label", { class: "field" }, "Why", h("input", { name: "why", required: true, maxlength: 500, value: options.why ?? "", autofocus: true })), who()],
    [cancel(), h("button", { class: options.danger ? "release" : "primary", value: "ok" }, confirm)],
    f => perform(what, f.why.value));
}

function cannot(title) {
  const s = store.session;
  if (s?.login) { logIn(); return; }
  dialog(title, [h("p", {}, "This console is read-only: nobody can log in yet."), h("p", {}, "To act from here, ", s?.how_to_add ?? "", "."), h("p", { class: "hint" }, "Until then: ", h("code", {}, "isotherm operator --site FILE --why REASON mode manual"))], [close("Close", "primary")], () => "");
}

export function release() {
  if (store.state.mode === "manual") { say("The plant is released: the mode is manual."); return; }
  ask("Release the plant", "All setpoints go back to the plant's own controller now, and the agent only records (mode manual).", { act: "mode", mode: "manual" }, "RELEASE NOW", { danger: true, why: "taken over by hand" });
}

const MODES = { manual: "the plant's own controller has it; the agent only records", shadow: "decides and records; writes nothing", advise: "an operator approves each action", auto: "what the guard lets pass is written" };

function mode() {
  const st = store.state;
  return h("section", { class: "card", "aria-labelledby": "h-mode" }, h("header", {}, h("h2", { id: "h-mode" }, "Mode"), h("span", { class: "muted" }, st.in_charge ? "the agent has the plant" : "the plant has itself")),
    h("div", { class: "modes", role: "group", "aria-label": "Mode" }, Object.keys(MODES).map(m => h("button", { "aria-pressed": String(st.mode === m), disabled: !may("operator") || st.mode === m, onclick: () => ask(`Change the mode to ${m}`, `Mode ${m}: ${MODES[m]}.`, { act: "mode", mode: m }, `Change to ${m}`, { danger: false }) }, m))),
    h("p", { class: "hint" }, `${words(st.mode)}: ${MODES[st.mode] ?? ""}`, given(st.mode_given), `. Operators may go up to ${store.site.start_mode}, where the site file starts; more takes an engineer.`));
}

function advice() {
  const st = store.state, a = st.advice, d = a && [...store.records, store.last].find(r => r?.seq === a.decision);
  const left = a && (Date.parse(a.expires) - controlTime()) / 1000;
  return h("section", { class: "card", "aria-labelledby": "h-advice" }, h("header", {}, h("h2", { id: "h-advice" }, "Waiting for approval"), a && h("span", { class: "warn" }, "expires in ", h("strong", {}, countdown(left)), " min:s")),
    a ? [h("p", {}, "Decision ", link(a.decision), `, until ${clock(a.expires)}. The guard judges it again at the moment of approval.`),
      h("div", { class: "row" }, h("button", { class: "primary", disabled: !may("operator"), onclick: () => ask(`Approve decision ${a.decision}`, "Its action is written to the plant, as far as the guard allows by now.", { act: "approve", decision: a.decision }, "Approve") }, "Approve"),
        h("button", { disabled: !may("operator"), onclick: () => ask(`Reject decision ${a.decision}`, "Nothing is written.", { act: "reject", decision: a.decision }, "Reject") }, "Reject")),
      d ? h("div", {}, full(d)) : h("p", { class: "warn" }, "Open the decision above to see what would be written.")]
      : h("p", { class: "muted" }, st.mode === "advise" ? "Nothing waits. The next decision comes on its cadence." : `In mode ${st.mode} nothing waits for approval.`));
}

const until = hours => hours ? new Date(controlTime() + hours * 3600e3).toISOString() : null;

async function send(form, what, why, done) {
  const error = form.querySelector(".error");
  error.textContent = "";
  try { say(await perform(what, why)); done?.(); } catch (e) { error.textContent = e.message; }
}

function overrides() {
  const st = store.state, chosen = overrides.chosen ??= store.site.setpoints[0].name, s = setpointOf(chosen), present = st.frame?.setpoints?.[chosen]?.value;
  return h("section", { class: "card", "aria-labelledby": "h-override" }, h("header", {}, h("h2", { id: "h-override" }, "Manual override")),
    st.mode !== "auto" && h("p", { class: "hint warn" }, "Overrides act through the agent: change to mode auto first."),
    h("form", { "aria-label": "Override a setpoint", onsubmit: e => { e.preventDefault(); const f = e.target.elements; send(e.target, { act: "override", setpoint: chosen, value: Number(f.value.value), until: until(Number(f.hours.value)) }, f.why.value, () => e.target.reset()); } },
      h("div", { class: "row" },
        h("label", {}, "Setpoint", h("select", { name: "setpoint", onchange: e => { overrides.chosen = e.target.value; e.target.form.elements.value.value = ""; draw(); } }, store.site.setpoints.map(x => h("option", { value: x.name, selected: x.name === chosen }, words(x.name))))),
        h("label", {}, `Value, ${unit(s.unit) || "number"}`, h("input", { name: "value", type: "number", required: true, min: s.min, max: s.max, step: s.step, inputmode: "decimal" })),
        h("label", {}, "For", h("select", { name: "hours" }, [["0.5", "30 min"], ["1", "1 h"], ["2", "2 h"], ["8", "8 h"], ["24", "24 h"], ["0", "until cleared"]].map(([v, t]) => h("option", { value: v }, t))))),
      h("p", { class: "hint" }, `Now ${value(present, s.unit)}; from ${figure(s.min, s.unit)} to ${value(s.max, s.unit)}. Moved at the guard's pace, and held. The guard's limits stay in force.`),
      h("label", { class: "field" }, "Why", h("input", { name: "why", required: true, maxlength: 500 })),
      h("p", { class: "error", role: "alert" }), h("button", { class: "primary", disabled: !may("operator") || st.mode !== "auto" }, "Override")),
    h("ul", { class: "plainlist", "aria-label": "Overrides in force" }, (st.overrides ?? []).map(o => h("li", {}, h("div", {}, told(o)),
      h("button", { class: "small", disabled: !may("operator"), onclick: () => ask(`Give ${words(o.setpoint)} back`, "The agent may move it again.", { act: "clear_override", setpoint: o.setpoint }, "Give back") }, "Give back")))),
    (st.manual_holds ?? []).length > 0 && h("ul", { class: "plainlist", "aria-label": "Changed at the plant itself" }, st.manual_holds.map(m => h("li", {}, h("div", {}, changed(m))))));
}

const draft = { text: "", heard: null, error: "", token: 0 };
function preview(form) {
  const mine = ++draft.token, text = form.elements.text.value, hours = Number(form.elements.hours.value);
  draft.text = text;
  clearTimeout(draft.timer);
  draft.timer = setTimeout(async () => {
    if (!text.trim() || !may("viewer")) { draft.heard = null; draft.error = ""; draw(); return; }
    let heard = null, error = "";
    try { heard = await api("/api/directives/preview", { text, until: until(hours) }); } catch (e) { error = e.message; }
    if (mine === draft.token) { draft.heard = heard; draft.error = error; draw(); }
  }, 250);
}

function directives() {
  const st = store.state, heard = draft.heard;
  return h("section", { class: "card", "aria-labelledby": "h-direct" }, h("header", {}, h("h2", { id: "h-direct" }, "Directives")),
    h("form", { "aria-label": "Give a directive", oninput: e => preview(e.currentTarget), onsubmit: e => { e.preventDefault(); const f = e.target.elements; send(e.target, { act: "directive", text: f.text.value, until: until(Number(f.hours.value)) }, f.why.value, () => { e.target.reset(); draft.heard = null; draw(); }); } },
      h("label", { class: "field" }, "In plain words", h("textarea", { name: "text", rows: 2, required: true, maxlength: store.site.directive_max_chars, placeholder: "keep chilled water at or above 10 degC until 14:00" })),
      h("div", { "aria-live": "polite" }, heard && h("p", { class: `notice ${heard.enforced ? "" : "warn"}` }, h("strong", {}, "Understood: "), heard.meaning), draft.error && h("p", { class: "notice bad" }, draft.error)),
      h("div", { class: "row" }, h("label", {}, "For", h("select", { name: "hours" }, [["0", "as the text says, or until withdrawn"], ["1", "1 h"], ["4", "4 h"], ["12", "12 h"], ["24", "24 h"], ["168", "7 days"]].map(([v, t]) => h("option", { value: v }, t)))), h("label", {}, "Why", h("input", { name: "why", required: true, maxlength: 500 }))),
      h("p", { class: "error", role: "alert" }), h("button", { class: "primary", disabled: !may("operator") }, "Give directive")),
    h("ul", { class: "plainlist", "aria-label": "Directives in force" }, (st.directives ?? []).map((d, i) => h("li", {}, h("div", {}, h("strong", {}, `${i + 1}. “${d.text}”`), h("div", { class: d.enforced ? "" : "warn" }, d.meaning), h("div", { class: "muted" }, `${d.who}, since ${clock(d.from)}`)),
      h("button", { class: "small", disabled: !may("operator"), onclick: () => ask(`Withdraw directive ${i + 1}`, `“${d.text}”`, { act: "withdraw_directive", number: i + 1, text: d.text }, "Withdraw") }, "Withdraw")))));
}

function alarms() {
  const list = store.state.alarms ?? [];
  return h("section", { class: "card", "aria-labelledby": "h-alarms" }, h("header", {}, h("h2", { id: "h-alarms" }, "Alarms"), h("span", { class: list.length ? "bad" : "muted" }, list.length ? `${list.length} not acknowledged` : "none")),
    h("ul", { class: "plainlist" }, list.slice().reverse().map(a => h("li", {}, h("div", {}, h("strong", { class: "bad" }, words(a.event)), ` ${clock(a.time)} `, link(a.seq), h("div", {}, a.detail)),
      h("button", { class: "small", disabled: !may("operator"), onclick: () => ask("Acknowledge the alarm", `${words(a.event)}: ${a.detail}`, { act: "acknowledge", alarm: a.seq }, "Acknowledge", { why: "seen" }) }, "Acknowledge")))));
}

function access() {
  const s = store.session;
  if (s?.user && !may("operator")) return h("p", { class: "notice warn" }, `You are ${s.user.name}, ${s.user.role}: viewers look. Acting takes the role operator.`);
  if (s?.user) return null;
  return h("p", { class: "notice warn", id: "read-only" }, h("strong", {}, "Read-only. "), "To act from here, ", s?.how_to_add ?? "", ".");
}

let place = null;
function draw() {
  if (!place) return;
  show(place, h("h1", { class: "sr" }, "Act"), access(), h("div", { class: "acts" },
    h("div", { class: "stack" }, mode(), advice(), alarms()), h("div", { class: "stack" }, overrides()), h("div", { class: "stack" }, directives())));
}

export function act(main) {
  place = main;
  // The form is new: what was understood of an earlier text is not of this one.
  draft.heard = null; draft.error = ""; draft.token++;
  draw();
  const tick = setInterval(draw, 1000), off = onChange(draw);
  return () => { clearInterval(tick); off(); place = null; };
}
