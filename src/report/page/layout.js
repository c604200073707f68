// The layout: a matrix of ranks and kinds of groups.

function matrixCell(kind, rank, groups) {
  const index = groups.findIndex((ranks) => ranks.includes(rank));
  if (index < 0) {
    return el("td", { class: "alone", "data-kind": kind, "data-rank": rank, tabindex: -1,
      "aria-label": "rank " + rank + " is in no group " + kind }, "-");
  }
  const alone = groups[index].length === 1;
  const words = "rank " + rank + ": " + kind + " group " + index + ", " +
    (alone ? "alone" : ranksText(groups[index]));
  return el("td", { class: alone ? "alone" : "", "data-kind": kind, "data-rank": rank,
    "data-group": index, tabindex: -1, "aria-label": words,
    style: alone ? null : "background: var(--t" + index % 8 + ")" }, alone ? "\u00b7" : index);
}

/// Lights the members of the cell's group, and says who they are.
function lightGroup(node, readout, cell) {
  for (const lit of node.querySelectorAll("td.lit")) lit.classList.remove("lit");
  if (!cell) return;
  const { kind, group } = cell.dataset;
  for (const other of node.querySelectorAll(
    "td[data-kind=\"" + kind + "\"][data-group=\"" + group + "\"]")) other.classList.add("lit");
  readout.textContent = cell.getAttribute("aria-label");
}

function moveInMatrix(node, cell, key) {
  const row = cell.parentElement;
  const column = [...row.cells].indexOf(cell);
  const rows = [...node.tBodies[0].rows];
  const at = rows.indexOf(row);
  const targets = {
    ArrowLeft: row.cells[column - 1], ArrowRight: row.cells[column + 1],
    ArrowUp: rows[at - 1] && rows[at - 1].cells[column],
    ArrowDown: rows[at + 1] && rows[at + 1].cells[column],
    Home: row.cells[1], End: row.cells[row.cells.length - 1],
  };
  const target = targets[key];
  return target && target.tagName === "TD" ? target : null;
}

function matrix(layout, readout) {
  const shown = kinds.filter((kind) => layout.groups[kind]);
  const ranks = [...Array(layout.world).keys()];
  const node = el("table", { class: "matrix" + (layout.world > 16 ? " many" : ""), id: "matrix",
    role: "grid", "aria-label": "Groups of every rank; arrow keys move, and tell the members" },
  el("thead", {}, el("tr", {}, el("td", {}), shown.map((kind) =>
    el("th", { scope: "col" }, el("span", {}, kind))))),
  el("tbody", {}, ranks.map((rank) => el("tr", {}, el("th", { scope: "row" }, "rank " + rank),
    shown.map((kind) => matrixCell(kind, rank, layout.groups[kind]))))));
  let current = node.tBodies[0].rows[0].cells[1];
  current.tabIndex = 0;
  const go = (cell) => {
    current.tabIndex = -1;
    current = cell;
    current.tabIndex = 0;
    current.focus();
  };
  node.addEventListener("keydown", (event) => {
    const target = moveInMatrix(node, current, event.key);
    if (!target) return;
    event.preventDefault();
    go(target);
  });
  const cellOf = (event) => event.target.closest("td[data-kind]");
  node.addEventListener("focusin", (event) => lightGroup(node, readout, cellOf(event)));
  node.addEventListener("pointerover", (event) => {
    if (cellOf(event)) lightGroup(node, readout, cellOf(event));
  });
  node.addEventListener("pointerleave", () => lightGroup(node, readout, null));
  node.addEventListener("click", (event) => cellOf(event) && go(cellOf(event)));
  return node;
}

function sizesText(sizes) {
  const words = ["tp " + sizes.tp, "attn_dp " + sizes.attn_dp + " x attn_cp " + sizes.attn_cp +
    " x attn_tp " + sizes.attn_tp];
  if (sizes.ep > 1 || sizes.moe_dp > 1) {
    words.push("moe_dp " + sizes.moe_dp + " x ep " + sizes.ep + " x moe_tp " + sizes.moe_tp);
  }
  if (sizes.pp > 1) words.push("pp " + sizes.pp);
  if (sizes.dcp > 1) words.push("dcp " + sizes.dcp);
  return words.join("; ");
}

function showLayout() {
  const readout = el("p", { class: "readout", "aria-live": "polite", id: "matrix-readout" },
    "Point at a cell, or go there with the arrow keys, to see who the members are.");
  section("layout", "Layout",
    el("p", {}, "Which ranks work together, and for what. In each column ranks with the same " +
      "number are members of the same group; a dot is a rank alone, which exchanges nothing."),
    el("p", {}, "Sizes: " + sizesText(report.layout.sizes) + "."),
    readout,
    el("div", { class: "wide" }, matrix(report.layout, readout)));
}
