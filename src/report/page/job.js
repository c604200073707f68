// Verdicts, the boundaries of a layer, and what a job did as a whole.

function isMiss(row) {
  return row.reason !== "ok" && row.reason !== "group_size_one";
}

function verdictRow(row, members) {
  return el("tr", {}, el("th", { scope: "row" }, row.group), el("td", {}, members),
    el("td", {}, row.op), el("td", {}, row.path),
    el("td", {}, el("a", { class: isMiss(row) ? "miss" : null, href: "#reason-" + row.reason },
      row.reason)),
    figure(row.calls, countText), figure(row.bytes, bytesText),
    figure(row.copied_bytes, bytesText), figure(row.transfer_s, secondsText),
    figure(row.wait_s, secondsText));
}

/// Groups of one kind that did the same as one row: as many as there are, and their sums.
function byKind(rows) {
  const merged = new Map();
  for (const row of rows) {
    const key = [row.group, row.op, row.path, row.reason].join();
    if (!merged.has(key)) {
      merged.set(key, { ...row, groups: 1 });
      continue;
    }
    const sum = merged.get(key);
    ++sum.groups;
    sum.calls = Math.max(sum.calls, row.calls);
    sum.bytes += row.bytes;
    sum.copied_bytes += row.copied_bytes;
    sum.transfer_s = Math.max(sum.transfer_s, row.transfer_s);
    sum.wait_s = Math.max(sum.wait_s, row.wait_s);
  }
  return [...merged.values()];
}

function verdictTable(caption, rows, members, name) {
  return table(caption + " Calls are those of one rank; bytes are summed over ranks; seconds are " +
    "the most that any rank spent.",
  ["group", "ranks", "operation", "path", "reason", "#calls", "#bytes", "#copied", "#moving s",
    "#waiting s"], rows.map((row) => verdictRow(row, members(row))), name);
}

function reasonTable() {
  return table("Every reason that occurred, and what to do about it",
    ["reason", "~what it means", "~what to do"],
    report.reasons.map((entry) => el("tr", { id: "reason-" + entry.reason },
      el("th", { scope: "row" }, entry.reason), el("td", {}, sentence(entry.meaning)),
      el("td", {}, sentence(entry.todo || "nothing")))), "reasons");
}

/// More rows than one can take in at once are shown by kind of group first.
const rowsAtOnce = 24;

function showVerdicts() {
  const rows = report.communication;
  const misses = rows.filter(isMiss).reduce((sum, row) => sum + row.calls, 0);
  const calls = rows.reduce((sum, row) => sum + row.calls, 0);
  const all = verdictTable("Calls by group, operation, path and reason.", rows,
    (row) => ranksText(row.ranks), "verdicts-table");
  section("verdicts", "Verdicts",
    el("p", {}, misses === 0 ?
      "All calls took the path that the agreed table promises." :
      misses + " of " + calls + " calls took another path than the agreed table promises; the " +
        "reasons below say why, and what to do."),
    rows.length <= rowsAtOnce ? all :
      [verdictTable("Groups of one kind together.", byKind(rows), (row) => row.groups === 1 ?
        ranksText(row.ranks) : row.groups + " groups of " + row.ranks.length, "verdicts-by-kind"),
      el("details", {}, el("summary", {}, "Each of the groups, in " + rows.length + " rows"), all)],
    reasonTable());
}

/// Which of the rows each rank holds: one line a rank.
function rowStrip(state, total, name) {
  const height = state.ranges.length > 16 ? 3 : 9;
  const node = svg("svg", { viewBox: "0 0 150 " + state.ranges.length * (height + 1), width: "100%",
    role: "img", preserveAspectRatio: "none", "aria-label": name + ": " + state.placement,
    style: "max-height: 200px" },
  svg("defs", {}, hatchPattern("strip-owed", "var(--h1)")));
  state.ranges.forEach(([first, count], i) => {
    const y = i * (height + 1);
    node.append(svg("rect", { x: 0, y, width: 150, height, fill: "var(--grid)" }),
      svg("rect", { x: total ? first / total * 150 : 0, y, width: total ? count / total * 150 : 0,
        height, fill: state.owes ? "url(#strip-owed)" : "var(--h0)" }));
  });
  return el("figure", {}, el("figcaption", {}, name), node);
}

const boundaryWords = {
  kv_rows: "New keys and values, to the ranks that cache them.",
  attention_output: "What the heads of a chunk gave, summed over all heads.",
  mlp_input: "From the rows of attention to those that the MLP works on.",
  mlp_output: "What each rank's part of the MLP gave, summed, back to the rows of attention.",
  last_rows: "The rows that a next token is wanted for, to all ranks.",
};

function boundaryCard(boundary, total) {
  const steps = boundary.steps.length ? boundary.steps.map((step) => el("li", { class: "step" },
    step.kind + (step.group ? " over " + step.group : ""))) :
    [el("li", { class: "step" }, "nothing to move")];
  return el("div", { class: "card boundary" }, el("h4", {}, boundary.name),
    el("p", {}, boundaryWords[boundary.name]),
    el("ul", { class: "flow" }, el("li", {}, boundary.before.placement), steps,
      el("li", { class: "to" }, boundary.after.placement)),
    el("div", { class: "strips" }, rowStrip(boundary.before, total, "before"),
      rowStrip(boundary.after, total, "after")));
}

function showBoundaries() {
  section("boundaries", "Boundaries of a layer",
    el("p", {}, "How the rows of a batch lie on the ranks before and after each boundary of a " +
      "layer, and the calls between. {} is all rows on every rank. In the pictures each line is " +
      "a rank, from rank 0 down, and its bar the rows it holds; orange rows still owe a sum."),
    report.boundaries.map((step) => [el("h3", {}, step.title),
      el("p", { class: "soft" }, "Drawn with " + step.rows + " rows."),
      el("div", { class: "cards" },
        step.boundaries.map((boundary) => boundaryCard(boundary, step.rows)))]));
}

function runTable(run) {
  return table("Prompts", ["prompt", "#prompt tokens", "#completion tokens", "ended by",
    "#replica"], run.prompts.map((prompt, i) => el("tr", {},
    el("th", { scope: "row" }, String(i + 1)), figure(prompt.prompt_tokens, countText),
    figure(prompt.completion_tokens, countText), el("td", {}, prompt.finish_reason),
    figure(prompt.replica, countText))), "prompts");
}

function showRun() {
  const { timing, stalls } = report.run;
  const part = section("run", "Run",
    facts([
      ["load, s", figure(timing.load_s, secondsText, "dd")],
      ["prefill, s", figure(timing.prefill_s, secondsText, "dd")],
      ["decode, s", figure(timing.decode_s, secondsText, "dd")],
      ["tokens per second", figure(timing.tokens_per_s, (value) => value.toFixed(1), "dd")],
      ["registrations since commit",
        figure(report.run.registrations_since_commit, countText, "dd")],
    ]), runTable(report.run));
  if (!stalls.length) return;
  part.append(el("p", { class: "miss" }, stalls.map((stall) => "Rank " + stall.rank + " waited " +
    stall.count + " times past the limit, " + stall.stalled_s.toFixed(1) + " s" +
    (stall.last_stalled_on === null ? "" : ", the last for rank " + stall.last_stalled_on) + ".")
    .join(" ")));
}

function showJob() {
  const ranks = report.layout.world;
  document.getElementById("summary").textContent = ranks + (ranks === 1 ? " rank" : " ranks") +
    ": " + sizesText(report.layout.sizes);
  if (report.run.timing) showRun();
  showVerdicts();
  showTimeline();
  showLayout();
  showArena();
  showBoundaries();
}
