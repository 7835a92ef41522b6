// The feed of decisions, operators' acts and events; and one of them in full.

import { h, show } from "/assets/dom.js";
import { chip, full, line, link } from "/assets/decision.js";
import { api, onChange, store } from "/assets/store.js";
import { BY, fromLocal, local, stamp, short, words, zoneName } from "/assets/text.js";

const WHAT = { decision: "decisions", "decision,operator,event,start,stop": "everything", operator: "operators' acts", event: "events", candidate: "candidates' decisions" };

export function feed(place, query) {
  let items = [], next = null, error = "", loading = false, token = 0, left = false;
  const kinds = () => query.get("what") ?? "decision";
  /** One end of the time asked for, in milliseconds; null for no end. */
  const bound = name => Number(query.get(name)) * 1000 || null;
  const address = extra => {
    const q = new URLSearchParams({ kinds: kinds(), limit: "40", ...extra });
    for (const f of ["rule", "by"]) if (query.get(f)) q.set(f, query.get(f));
    for (const f of ["unverified", "intervened", "replaced"]) if (query.get(f)) q.set(f, "true");
    if (bound("from")) q.set("since", new Date(bound("from")).toISOString());
    // Up to and with that second.
    if (bound("to")) q.set("until", new Date(bound("to") + 1000).toISOString());
    return `/api/decisions?${q}`;
  };
  async function load(more) {
    const mine = ++token;
    loading = true; draw();
    try {
      const page = await api(address(more && next ? { before: next } : {}));
      if (left || mine !== token) return;
      items = more ? [...items, ...page.items] : page.items;
      next = page.next; error = "";
    } catch (e) { if (left || mine !== token) return; error = e.message; }
    loading = false; draw();
  }
  function change(name, v) {
    if (v) query.set(name, v); else query.delete(name);
    const q = query.toString();
    history.replaceState(null, "", q ? `/decisions?${q}` : "/decisions");
    load();
  }
  const fits = r => {
    const t = r.verdict?.touched ?? [];
    const at = Date.parse(r.time);
    return kinds().split(",").includes(r.kind) && at >= (bound("from") ?? -Infinity) && at < (bound("to") ?? Infinity) + 1000
      && (!query.get("rule") || t.some(x => x.rule === query.get("rule"))) && (!query.get("by") || r.verdict?.by === query.get("by"))
      && (!query.get("unverified") || r.claims?.verified === false) && (!query.get("intervened") || r.verdict?.intervened) && (!query.get("replaced") || r.replaced);
  };
  function draw() {
    const select = (name, label, options) => h("label", {}, label,
      h("select", { name, onchange: e => change(name, e.target.value) }, Object.entries(options).map(([v, t]) => h("option", { value: v, selected: (query.get(name) ?? (name === "what" ? "decision" : "")) === v }, t))));
    const check = (name, label) => h("label", { class: "check" }, h("input", { type: "checkbox", name, checked: !!query.get(name), onchange: e => change(name, e.target.checked ? "1" : "") }), label);
    const time = (name, label) => h("label", {}, label, h("input", { name, type: "datetime-local", step: 1, value: bound(name) ? local(bound(name)) : "", onchange: e => change(name, e.target.value ? String(fromLocal(e.target.value) / 1000) : "") }));
    const rules = Object.fromEntries([["", "any"], ...(store.site?.rules ?? []).map(r => [r.name, words(r.name)])]);
    show(place, h("h1", { class: "sr" }, "Decisions"),
      h("form", { class: "filters", role: "search", "aria-label": "Filter decisions", onsubmit: e => e.preventDefault() },
        select("what", "Show", WHAT), select("rule", "Touched by rule", rules), select("by", "Proposed by", { "": "anyone", ...BY }), time("from", `From, ${zoneName()}`), time("to", "To"),
        check("unverified", "unverified"), check("intervened", "changed by the guard"), check("replaced", "model replaced")),
      error && h("p", { class: "notice bad", role: "alert" }, error),
      items.length ? h("ul", { class: "feed" }, items.map(line)) : h("p", { class: "card muted" }, loading ? "Reading the log …" : next ? "Nothing among the newest 2\u2009000 records; older ones may have some." : "Nothing that fits."),
      next && h("p", {}, h("button", { onclick: () => load(true), disabled: loading }, "Show older")));
  }
  const stop = onChange(what => {
    if (what === "reset") { load(); return; }
    if (what !== "records") return;
    const newest = items[0]?.seq ?? 0;
    const fresh = store.records.filter(r => r.seq > newest && r.kind !== "outcome" && fits(r)).reverse();
    let came = false;
    for (const o of store.records.filter(r => r.kind === "outcome")) {
      const d = [...fresh, ...items].find(i => i.seq === o.intent);
      if (d && d.outcome?.seq !== o.seq) { d.outcome = o; came = true; }
    }
    if ((fresh.length || came) && !loading) { items = [...fresh, ...items]; draw(); }
  });
  load();
  return () => { left = true; stop(); };
}

const around = (time, by) => Math.round(Date.parse(time) / 1000) + by;

/** Where there is no clipboard, as on plain HTTP, the address is shown to be copied. */
async function copyLink(e) {
  try { await navigator.clipboard.writeText(location.href); e.target.textContent = "copied"; }
  catch { window.prompt("The link to this record", location.href); }
}

export function one(place, seq) {
  let left = false;
  const draw = async () => {
    try {
      const r = await api(`/api/decisions/${seq}`), item = r.item;
      if (left) return;
      if (r.outcome) item.outcome = r.outcome;
      const body = r.record.body, decision = item.kind === "decision";
      show(place, h("article", { class: "card" },
        h("header", {}, h("h1", {}, decision ? `Decision #${seq}` : `Record #${seq}: ${item.kind}`), h("span", { class: "muted" }, stamp(item.time)), chip(`record hash ${short(r.record.hash)}`)),
        h("p", { class: "noprint" }, h("a", { href: "/decisions", "data-link": true }, "← all decisions"), " · ", h("button", { class: "small", onclick: copyLink }, "copy link"), " ",
          h("a", { class: "button small", href: `/api/records/${seq}`, download: `isotherm-${seq}.json` }, "record as JSON"), " ",
          h("a", { class: "button small", "data-link": true, href: `/replay?from=${around(item.time, -1800)}&to=${around(item.time, 1800)}&at=${around(item.time, 0)}` }, "replay this")),
        decision ? full(item, "h2") : h("ul", { class: "feed" }, line(item)),
        r.prompt && [h("h2", {}, "Exact prompt"),
          h("p", {}, r.prompt.exact ? h("span", { class: "ok" }, "✓ its SHA-256 is the one in the record: ") : h("span", { class: "bad" }, "✗ not what the model got: the beginning cannot be made again from the run's templates. "), h("code", {}, r.prompt.sha256)),
          h("details", {}, h("summary", {}, "What never changes for this site"), h("pre", { tabindex: 0 }, r.prompt.prefix)),
          h("pre", { tabindex: 0 }, r.prompt.text)],
        body.completion && [h("h2", {}, "What the model answered"), h("pre", { tabindex: 0 }, body.completion.text),
          h("p", { class: "muted" }, `${body.completion.prompt_tokens} tokens of prompt, ${body.completion.reused_tokens} reused; ${body.completion.tokens.length || "?"} tokens of reply, ${body.completion.forced_tokens} of them forced by the schema`)],
        r.run && [h("h2", {}, "Run"), h("dl", { class: "facts" }, [["run", r.run.run], ["started by record", link(r.run.seq)], ["version", r.run.version], ["build", r.run.build], ["model sha256", r.run.model?.sha256], ["prompt", `${r.run.prompt_template} ${r.run.prompt_sha256}`], ["site sha256", r.run.site_sha256], ["schema sha256", r.run.schema_sha256]]
          .filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", { class: "mono" }, v)]))],
        h("details", {}, h("summary", {}, "Full record"), h("pre", { tabindex: 0 }, JSON.stringify(r.record, null, 1)))));
    } catch (e) { if (!left) show(place, h("p", { class: "notice bad", role: "alert" }, e.message), h("p", {}, h("a", { href: "/decisions", "data-link": true }, "← all decisions"))); }
  };
  draw();
  const stop = onChange(what => { if (what === "records" && store.records.some(r => r.kind === "outcome" && r.intent === seq)) draw(); });
  return () => { left = true; stop(); };
}
