// The arena: where everything lies in the memory of every rank.

const arenaKinds = {
  own: "slot", pool: "pool", sync: "words that ranks watch", scratch: "headers, small operands",
  staging: "copies of operands from outside the arena", padding: "filled up", retired: "replaced",
  control: "outside the arena", nccl: "outside the arena, as measured",
};

function inArena(row) {
  return row.bytes > 0 && row.kind !== "control" && row.kind !== "nccl";
}

/// The bands of the map: what all ranks hold, what ranks of each stage hold, and slots that lie in
/// memory of their own because symmetric memory is switched off.
function arenaBands(plan) {
  const bands = new Map();
  for (const row of plan.footprint.rows.filter(inArena)) {
    const apart = !plan.slots_in_arena && (row.kind === "own" || row.kind === "pool");
    const name = apart ? "slots, in ordinary memory" :
      row.stage === null ? "every rank" : "ranks of stage " + row.stage;
    if (!bands.has(name)) bands.set(name, []);
    bands.get(name).push(row);
  }
  return bands;
}

function regionColour(row) {
  return row.groups.length ? groupColour(row.groups[0]) : "var(--h11)";
}

function regionText(row) {
  return row.name + ": " + arenaKinds[row.kind] +
    (row.groups.length ? " of " + row.groups.join(", ") : "") + ", " + bytesText(row.bytes) +
    " at offset " + row.offset;
}

function arenaMap(plan, width, light) {
  const bands = [...arenaBands(plan)];
  const end = Math.max(1, ...plan.footprint.rows.filter(inArena).map((r) => r.offset + r.bytes));
  const height = 46;
  const node = svg("svg", { width, height: bands.length * height + 20, role: "img",
    "aria-label": "Map of the arena; the table below has the same figures", id: "arena-map" },
  svg("defs", {}, hatchPattern("arena-unused", "var(--h11)")));
  bands.forEach(([name, rows], i) => {
    const top = i * height;
    node.append(svg("text", { x: 0, y: top + 12, class: "soft" }, name));
    for (const row of rows) {
      const x = row.offset / end * width;
      const unused = row.kind === "padding" || row.kind === "retired";
      const rect = svg("rect", { x, y: top + 17, width: Math.max(1, row.bytes / end * width - 0.5),
        height: 25, "data-row": plan.footprint.rows.indexOf(row),
        fill: unused ? "url(#arena-unused)" : regionColour(row),
        "fill-opacity": row.kind === "own" || row.kind === "pool" || unused ? 1 : 0.5 },
      svg("title", {}, regionText(row)));
      rect.addEventListener("pointerenter", () => light(row));
      node.append(rect);
    }
    node.append(svg("rect", { x: 0.5, y: top + 17, width: width - 1, height: 25,
      class: "frame" }));
  });
  const y = bands.length * height + 14;
  node.append(svg("text", { x: 0, y, class: "soft" }, "0"),
    svg("text", { x: width, y, class: "soft", "text-anchor": "end" }, bytesText(end)));
  return node;
}

function arenaTable(plan) {
  const rows = plan.footprint.rows.map((row, i) => el("tr", { "data-row": i },
    el("th", { scope: "row" }, row.name), el("td", {}, arenaKinds[row.kind]),
    el("td", {}, row.groups.join(", ") || "-"),
    el("td", {}, row.stage === null ? "all" : String(row.stage)),
    inArena(row) ? figure(row.offset, countText) : el("td", { class: "figure" }, "-"),
    figure(row.bytes, bytesText)));
  return table("Footprint of every rank, row by row",
    ["what", "kind", "groups", "stage", "#offset", "#bytes"], rows, "footprint");
}

function showArena() {
  const plan = report.plan;
  const planned = plan.footprint;
  const readout = el("p", { class: "readout", "aria-live": "polite" },
    "Point at a region of the map to see what it is; the table has them all.");
  const rows = arenaTable(plan);
  const light = (row) => {
    for (const lit of rows.querySelectorAll("tr.lit")) lit.classList.remove("lit");
    rows.querySelector("tr[data-row=\"" + planned.rows.indexOf(row) + "\"]").classList.add("lit");
    readout.textContent = regionText(row);
  };
  const drawn = el("div", { class: "map" });
  const used = kinds.filter((kind) => planned.rows.some((row) => row.groups[0] === kind));
  const total = planned.planned_bytes;
  section("arena", "Memory",
    el("p", {}, "Everything that the job exchanges lies in one arena on every rank, at the same " +
      "offsets. All of it was known before the first byte was allocated."),
    facts([
      ["arena of every rank", figure(planned.arena_bytes, bytesText, "dd")],
      ["addresses reserved", figure(planned.virtual_bytes, bytesText, "dd")],
      ["planned on the largest rank", figure(Math.max(...total), bytesText, "dd")],
      report.run.measured_bytes.length ?
        ["measured on the largest rank",
          figure(Math.max(...report.run.measured_bytes), bytesText, "dd")] :
        ["control segment", figure(planned.control_bytes, bytesText, "dd")],
    ]),
    legend([...used.map((kind) => [kind, groupColour(kind)]), ["unused", "var(--h11)", true]]),
    el("p", { class: "soft" }, "Coloured by the first group that a region serves; full colour is " +
      "slots and pools, pale is what calls need beside them."),
    drawn, readout, rows);
  drawAtWidth(drawn, (width) => drawn.replaceChildren(arenaMap(plan, width, light)));
}
