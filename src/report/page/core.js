"use strict";
// What all parts of the page share: the data, making elements, writing figures, colours.

const report = JSON.parse(document.getElementById("report-data").textContent);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined) continue;
    node.append(child);
  }
  return node;
}

function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function bytesText(bytes) {
  if (bytes < 1024) return bytes + " B";
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    ++unit;
  }
  return value.toFixed(value < 10 ? 2 : 1) + " " + units[unit];
}

const countText = (value) => String(value);
const secondsText = (value) => value.toFixed(3);
const spanText = (us) => us < 10 ? us.toFixed(2) + " us" : us < 1000 ? us.toFixed(1) + " us" :
  us < 1e6 ? (us / 1e3).toFixed(3) + " ms" : (us / 1e6).toFixed(4) + " s";
const microText = (us) => us.toFixed(us < 10 ? 3 : us < 100 ? 2 : us < 1000 ? 1 : 0);

/// A number as people read it; `data-value` keeps it as the JSON has it.
function figure(value, format, name = "td") {
  return el(name, { class: "figure", "data-value": value }, format(value));
}

/// A sentence whose flags stay in one piece.
function sentence(text) {
  return text.split(/(--[a-z][a-z0-9-]*[a-z0-9])/).map((part, i) => i % 2 === 0 ? part :
    el("span", { class: "flag" }, part));
}

function ranksText(ranks) {
  const parts = [];
  for (let first = 0; first < ranks.length;) {
    let last = first;
    while (last + 1 < ranks.length && ranks[last + 1] === ranks[last] + 1) ++last;
    parts.push(last > first ? ranks[first] + "-" + ranks[last] : String(ranks[first]));
    first = last + 1;
  }
  return (ranks.length === 1 ? "rank " : "ranks ") + parts.join(", ");
}

const kinds = ["world", "tp", "pp", "attn_tp", "attn_cp", "attn", "moe_ep", "moe_tp", "moe_dp",
  "dcp", "host", "leaders"];
const paths = ["local", "host_inline", "host_direct", "host_staged", "gpu_ll", "gpu_lamport",
  "gpu_two_shot", "nccl_symmetric", "nccl_plain"];
const pathHues = [11, 5, 0, 1, 2, 7, 3, 4, 6];

function hue(number) {
  return "var(--h" + number % 12 + ")";
}
const groupColour = (kind) => hue(Math.max(0, kinds.indexOf(kind)));
const pathColour = (path) => hue(pathHues[Math.max(0, paths.indexOf(path))]);

/// The members that a rank works with in a group of this kind.
function membersOf(kind, rank) {
  return (report.layout.groups[kind] || []).find((ranks) => ranks.includes(rank)) || [];
}

function hatchPattern(id, colour) {
  return svg("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)" },
  svg("rect", { width: 5, height: 5, fill: "var(--back)" }),
  svg("rect", { width: 2, height: 5, fill: colour }));
}

function legend(entries) {
  return el("ul", { class: "legend" }, entries.map(([name, colour, hatched]) => {
    const id = "legend-" + name.replace(/\W/g, "-");
    return el("li", {}, svg("svg", { width: 14, height: 14, "aria-hidden": "true" },
      hatched ? svg("defs", {}, hatchPattern(id, colour)) : null,
      svg("rect", { width: 14, height: 14, fill: hatched ? "url(#" + id + ")" : colour,
        stroke: colour })), name);
  }));
}

/// A table from column titles and rows of cells. A leading "#" marks a column of figures, a leading
/// "~" one of sentences.
function table(caption, columns, rows, name) {
  columns.forEach((column, i) => {
    if (column.startsWith("~")) rows.forEach((row) => row.cells[i].classList.add("words"));
  });
  const head = (column) => column.startsWith("#") ?
    el("th", { scope: "col", class: "figure" }, column.slice(1)) :
    el("th", { scope: "col" }, column.replace("~", ""));
  const id = name + "-caption";
  return el("div", { class: "table" }, el("p", { id, class: "soft" }, caption),
    el("div", { class: "wide", role: "region", tabindex: 0, "aria-labelledby": id },
      el("table", { id: name, "aria-labelledby": id },
        el("thead", {}, el("tr", {}, columns.map(head))), el("tbody", {}, rows))));
}

function section(id, title, ...children) {
  document.getElementById("nav").append(el("li", {}, el("a", { href: "#" + id }, title)));
  const node = el("section", { id, "aria-labelledby": id + "-title" },
    el("h2", { id: id + "-title" }, title), children);
  document.getElementById("main").append(node);
  return node;
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.map(([name, node]) =>
    el("div", {}, el("dt", {}, name), node)));
}

/// Calls `draw(width)` now and whenever the width of `node` has changed.
function drawAtWidth(node, draw) {
  let drawn = 0;
  const redraw = () => {
    const width = Math.max(240, Math.floor(node.clientWidth));
    if (width === drawn) return;
    drawn = width;
    draw(width);
  };
  redraw();
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(node);
}

/// "Automatic" follows the system, as it changes.
function themeButtons() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choices = ["automatic", "light", "dark"];
  let chosen = "automatic";
  const apply = () => {
    const theme = chosen === "automatic" ? (dark.matches ? "dark" : "light") : chosen;
    document.documentElement.dataset.theme = theme;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", choices[i] === chosen));
  };
  const buttons = choices.map((choice) => {
    const button = el("button", { type: "button" }, choice);
    button.addEventListener("click", () => {
      chosen = choice;
      apply();
    });
    return button;
  });
  document.getElementById("theme").append(...buttons);
  dark.addEventListener("change", apply);
  apply();
}
