// The plant as a picture: where heat comes from, what carries it, and where it goes. Which box shows a signal
// is decided by its role, so any site of a kind has a picture.

import { svg } from "/assets/dom.js";
import { figure, unit, value, words } from "/assets/text.js";

const BOXES = {
  air: ["Outdoors", "Chilled-water plant", "Air handlers (CRAH)", "Halls"],
  liquid: ["Outdoors", "Heat rejection", "Coolant distribution", "Racks"],
  immersion: ["Outdoors", "Heat rejection", "Coolant distribution", "Tanks"],
};
const PLACE = {
  outdoor_dry_bulb: 0, outdoor_wet_bulb: 0,
  chillers_on: 1, cooling_power: 1,
  fan_speed: 2, pump_speed: 2, valve_position: 2,
  it_inlet: 3, bath: 3, chip_temp: 3, it_load: 3, room_dry_bulb: 3, room_humidity: 3, room_dew_point: 3, load_ahead: 3,
};
// Between boxes 1 and 2, and between 2 and 3.
const SUPPLY = [["chws", "facility_supply"], ["crah_supply", "liquid_supply"]];
const RETURN = [["chwr", "facility_return"], ["liquid_return"]];
const ROW = 20;

/** Signals and setpoints sorted into boxes and pipes. */
function sort(site, frame) {
  const air = site.plant === "air";
  const boxes = [[], [], [], []], pipes = [{ supply: [], return: [], flow: [] }, { supply: [], return: [], flow: [] }];
  const add = (list, s, kind) => {
    const sample = (kind === "sp" ? frame?.setpoints : frame?.signals)?.[s.name] ?? { value: null, quality: "missing" };
    list.push({ name: s.name, unit: s.unit, kind, sample, band: s.band });
  };
  for (const s of site.signals) {
    const loop = [0, 1].find(i => SUPPLY[i].includes(s.role)), back = [0, 1].find(i => RETURN[i].includes(s.role));
    if (loop !== undefined) add(pipes[loop].supply, s);
    else if (back !== undefined) add(pipes[back].return, s);
    else if (s.role === "flow" || s.role === "diff_pressure") add(pipes[air ? 0 : 1].flow, s);
    else if (PLACE[s.role] !== undefined) add(boxes[PLACE[s.role]], s);
  }
  for (const s of site.setpoints) {
    const at = s.role === "diff_pressure" ? (air ? 1 : 2) : SUPPLY[0].includes(s.role) || s.role === "chillers_on" ? 1 : 2;
    add(boxes[at], s, "sp");
  }
  return { boxes, pipes };
}

const quality = r => r.sample.quality && r.sample.quality !== "good" ? r.sample.quality
  : r.band && r.sample.value !== null && (r.sample.value > r.band[1] || r.sample.value < r.band[0]) ? "over" : "";
// Quality is a word, not only a colour.
const label = r => words(r.name) + (r.sample.quality && r.sample.quality !== "good" ? ` (${r.sample.quality})` : "");
const fit = (text, width) => text.length * 6.1 <= width ? text : `${text.slice(0, Math.max(4, Math.floor(width / 6.1) - 1))}…`;

function row(r, title, x, y, width) {
  const shown = value(r.sample.value, r.unit);
  // The box says "outdoors" already.
  const name = title === "Outdoors" ? label(r).replace(/^outdoor /, "") : label(r);
  return [
    svg("text", { class: `l ${r.kind ?? ""}`, x, y }, fit(r.kind === "sp" ? `▸ ${name.replace(/ sp$/, "")}` : name, width - shown.length * 7.4 - 6)),
    svg("text", { class: `v ${r.kind ?? ""} ${quality(r)}`, x: x + width, y }, shown),
  ];
}

function box(title, rows, x, y, width, height) {
  return svg("g", {},
    svg("rect", { class: "box", x, y, width, height, rx: 5 }),
    svg("text", { class: "name", x: x + 10, y: y + 20 }, title),
    rows.map((r, i) => row(r, title, x + 10, y + 44 + i * ROW, width - 20)));
}

/** A value on a pipe, on a ground of its own. */
function tag(r, x, y, most) {
  const text = `${figure(r.sample.value, r.unit)} ${unit(r.unit)}`.trim(), name = fit(label(r), most - 10);
  const width = Math.min(most, Math.max(text.length * 7.6, name.length * 6.4) + 12);
  return svg("g", {},
    svg("rect", { class: "tag", x: x - width / 2, y: y - 17, width, height: 34, rx: 3 }),
    svg("text", { class: "l", x, y: y - 4, "text-anchor": "middle" }, name),
    svg("text", { class: `f ${quality(r)}`, x, y: y + 11, "text-anchor": "middle" }, text));
}

const pipe = (kind, d) => [svg("path", { class: `pipe ${kind}`, d }), svg("path", { class: "flowing", d })];

// Left edge and width of the boxes in the wide picture.
const AT = [[4, 122], [142, 184], [438, 190], [742, 216]];

function flat(site, { boxes, pipes }) {
  const titles = BOXES[site.plant], most = Math.max(...boxes.map(b => b.length));
  const tags = Math.max(...pipes.map(p => p.supply.length + p.return.length + p.flow.length));
  const height = Math.max(60 + most * ROW, 30 + tags * 42), top = 4, air = site.plant === "air" ? " air" : "";
  const supplyY = top + 34, returnY = top + height - 34;
  return svg("svg", { class: "plant flat", viewBox: `0 0 960 ${height + 8}`, role: "img", "aria-label": describe(site, boxes, pipes) },
    pipe("return", `M142 ${returnY} H126`), pipe("supply", `M126 ${supplyY} H142`),
    pipes.map((p, i) => {
      const a = AT[i + 1][0] + AT[i + 1][1], b = AT[i + 2][0], m = (a + b) / 2, wide = b - a - 4;
      const between = k => supplyY + (returnY - supplyY) * (k + 1) / (p.flow.length + 1);
      return [
        pipe("supply" + (i ? air : ""), `M${a} ${supplyY} H${b}`), pipe("return" + (i ? air : ""), `M${b} ${returnY} H${a}`),
        p.supply.map((r, k) => tag(r, m, supplyY + k * 36, wide)),
        p.return.map((r, k) => tag(r, m, returnY - k * 36, wide)),
        p.flow.map((r, k) => tag(r, m, between(k), wide)),
      ];
    }),
    boxes.map((rows, i) => box(titles[i], rows, AT[i][0], top, AT[i][1], height)));
}

function tallPicture(site, { boxes, pipes }) {
  const titles = BOXES[site.plant], order = [3, 2, 1, 0];
  let y = 8;
  const parts = [], width = 340;
  order.forEach((b, k) => {
    const height = 36 + boxes[b].length * ROW + 6;
    if (k > 0) {
      const p = b === 0 ? null : pipes[b - 1];
      const from = y - 2, tags = p ? [...p.supply, ...p.return, ...p.flow] : [];
      const gap = Math.max(34, Math.ceil(tags.length / 2) * 40 + 14);
      const air = site.plant === "air" && b === 2 ? " air" : "";
      parts.push(pipe("return" + air, `M${width - 24} ${from} V${from + gap}`), pipe("supply" + air, `M24 ${from + gap} V${from}`));
      tags.forEach((r, i) => parts.push(tag(r, i % 2 ? 238 : 102, from + 26 + Math.floor(i / 2) * 40, 130)));
      y += gap - 4;
    }
    parts.push(box(titles[b], boxes[b], 2, y, width - 4, height));
    y += height;
  });
  return svg("svg", { class: "plant tall", viewBox: `0 0 ${width} ${y + 8}`, role: "img", "aria-label": describe(site, boxes, pipes) }, parts);
}

function describe(site, boxes, pipes) {
  const all = [...boxes.flat(), ...pipes.flatMap(p => [...p.supply, ...p.return, ...p.flow])];
  return `The ${site.plant} cooled plant. ` + all.map(r => `${label(r)} ${value(r.sample.value, r.unit)}`).join(", ");
}

export function plant(site, frame) {
  const sorted = sort(site, frame);
  return [flat(site, sorted), tallPicture(site, sorted)];
}
