// Views are functions from state to elements. `show` makes what is on the page like them, and leaves alone
// what is so already: focus, text being typed and open details survive.

const SVG = "http://www.w3.org/2000/svg";

function make(el, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) { el[key] = value; (el.handlers ??= {})[key] = value; }
    else if (key === "vars") { for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v); }
    else el.setAttribute(key, value === true ? "" : String(value));
  }
  el.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false));
  return el;
}

export const h = (tag, props, ...children) => make(document.createElement(tag), props, children);
/** What may be wider than its place: it scrolls, by keyboard too, so it has a name. */
export const scroll = (name, ...children) => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, ...children);
export const svg = (tag, props, ...children) => make(document.createElementNS(SVG, tag), props, children);

/** Makes the children of `place` like `wanted`. */
export function show(place, ...wanted) {
  children(place, wanted.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false)
    .map(c => typeof c === "string" ? document.createTextNode(c) : c));
}

const key = node => node.nodeType === 1 ? node.getAttribute("data-key") : null;

function children(place, wanted) {
  let at = place.firstChild;
  for (const want of wanted) {
    const k = key(want);
    if (k !== null && (!at || key(at) !== k)) {
      const kept = [...place.children].find(c => key(c) === k);
      if (kept) { place.insertBefore(kept, at); at = kept; }
      else { place.insertBefore(want, at); continue; }
    }
    if (!at) { place.append(want); continue; }
    const next = at.nextSibling;
    if (alike(at, want)) patch(at, want);
    else at.replaceWith(want);
    at = next;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

function patch(old, want) {
  if (old.nodeType !== 1) {
    if (old.data !== want.data) old.data = want.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!want.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of want.attributes) {
    if (name === "open" && old.nodeName === "DETAILS") continue;
    if (old.getAttribute(name) === value) continue;
    // The page's policy allows styles set by script, not those written as text into an attribute.
    if (name === "style") old.style.cssText = value;
    else old.setAttribute(name, value);
  }
  for (const k of Object.keys(old.handlers ?? {})) old[k] = null;
  for (const [k, f] of Object.entries(want.handlers ?? {})) old[k] = f;
  old.handlers = want.handlers;
  if (old.nodeName === "SELECT" && old === document.activeElement) return;
  children(old, [...want.childNodes]);
}
