// The timeline: calls by rank and path; what was spent waiting is hatched.

const timelineLeft = 62;

function timelineText(timeline, rank, call) {
  const [begin, total, wait, number, bytes, copied] = call;
  const key = timeline.keys[number];
  return "rank " + rank + ", " + key.op + " on " + key.group + " (" +
    ranksText(membersOf(key.group, rank)) + ")" + (key.lane ? " lane " + key.lane : "") + ": " +
    key.path + ", " + key.reason + ", " + bytesText(bytes) +
    (copied ? ", " + bytesText(copied) + " copied" : "") + "; at " + spanText(begin) + " for " +
    spanText(total) + ", " + spanText(wait) + " of it waiting";
}

/// The first call that ends after `time`: calls of a rank follow each other.
function firstCall(calls, time) {
  let low = 0;
  let high = calls.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (calls[middle][0] + calls[middle][1] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function rectPath(x, y, width, height) {
  return "M" + x.toFixed(2) + " " + y.toFixed(2) + "h" + width.toFixed(2) + "v" +
    height.toFixed(2) + "h" + (-width).toFixed(2) + "z";
}

/// Collects rectangles by fill, so that thousands of calls are a few elements.
class Rectangles {
  constructor() {
    this.fills = new Map();
  }

  add(fill, x, y, width, height) {
    if (!this.fills.has(fill)) this.fills.set(fill, []);
    this.fills.get(fill).push(rectPath(x, y, width, height));
  }

  nodes() {
    return [...this.fills].map(([fill, parts]) => svg("path", { d: parts.join(""), fill }));
  }
}

const waitFill = "url(#timeline-wait)";
const waitShareFill = "var(--line)";  // columns are too narrow for hatching

/// Calls that are drawn one by one are on average at least so wide; else columns show shares.
const callPx = 4;
const columnPx = 6;

/// The visible parts of a call, waiting first: from, to, fill.
function partsOf(timeline, [begin, total, wait, number]) {
  const parts = [[begin + wait, begin + total, pathColour(timeline.keys[number].path)]];
  return wait > 0 ? [[begin, begin + wait, waitFill], ...parts] : parts;
}

function drawEach(parts, view, scale, box, shapes) {
  for (const [from, to, fill] of parts) {
    const left = Math.max(0, (from - view.from) * scale);
    const right = Math.min(box.width, (to - view.from) * scale);
    if (right <= left) continue;
    shapes.add(fill, timelineLeft + left, box.y, Math.max(right - left, 0.3), box.height);
  }
}

/// Column by column what the rank's time went into: moving at the bottom, waiting above it.
function drawShares(parts, view, scale, box, shapes) {
  const columns = new Map();
  for (const [from, to, fill] of parts) {
    const left = Math.max(0, (from - view.from) * scale / columnPx);
    const right = Math.min(box.width / columnPx, (to - view.from) * scale / columnPx);
    for (let column = Math.floor(left); column < right; ++column) {
      const share = Math.min(right, column + 1) - Math.max(left, column);
      if (!columns.has(column)) columns.set(column, new Map());
      const fills = columns.get(column);
      fills.set(fill, (fills.get(fill) || 0) + share);
    }
  }
  for (const [column, fills] of columns) {
    let bottom = box.y + box.height;
    const upwards = [...fills].filter((entry) => entry[0] !== waitFill);
    if (fills.has(waitFill)) upwards.push([waitShareFill, fills.get(waitFill)]);
    for (const [fill, share] of upwards) {
      const height = Math.min(bottom - box.y, share * box.height);
      bottom -= height;
      if (height > 0.05) {
        shapes.add(fill, timelineLeft + column * columnPx, bottom, columnPx, height);
      }
    }
  }
}

function visibleCalls(calls, view) {
  const first = firstCall(calls, view.from);
  let end = first;
  while (end < calls.length && calls[end][0] < view.to) ++end;
  return calls.slice(first, end);
}

function timelineTicks(view, width, height) {
  const wanted = Math.max(2, Math.floor(width / 130));
  const rough = (view.to - view.from) / wanted;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * decade).find((size) => size >= rough);
  const nodes = [];
  for (let us = Math.ceil(view.from / step) * step; us <= view.to; us += step) {
    const x = timelineLeft + (us - view.from) / (view.to - view.from) * width;
    nodes.push(svg("line", { x1: x, x2: x, y1: 0, y2: height, class: "grid" }));
    const near = x > timelineLeft + width - 30;
    nodes.push(svg("text", { x, y: height + 15, class: "soft",
      "text-anchor": near ? "end" : "middle" },
    us === 0 ? "0" : spanText(us).replace(/\.?0+ /, " ")));
  }
  return nodes;
}

class TimelineView {
  constructor(timeline, place, readout) {
    this.timeline = timeline;
    this.place = place;
    this.readout = readout;
    this.view = { from: 0, to: timeline.end_us };
    this.rowHeight = timeline.ranks.length > 16 ? 11 : 26;
    this.width = 0;
  }

  draw(width = this.width) {
    this.width = width;
    const inner = width - timelineLeft;
    const gap = this.rowHeight > 16 ? 5 : 2;
    const height = this.timeline.ranks.length * (this.rowHeight + gap);
    const scale = inner / (this.view.to - this.view.from);
    const shapes = new Rectangles();
    const labels = [];
    const every = this.rowHeight < 14 ? 4 : 1;
    const visible = this.timeline.ranks.map((entry) => visibleCalls(entry.calls, this.view));
    const busiest = Math.max(...visible.map((calls) => calls.length));
    const draw = busiest * callPx * 2 > inner ? drawShares : drawEach;
    this.timeline.ranks.forEach((entry, i) => {
      const y = i * (this.rowHeight + gap);
      shapes.add("var(--panel)", timelineLeft, y, inner, this.rowHeight);
      draw(visible[i].flatMap((call) => partsOf(this.timeline, call)), this.view, scale,
        { y, width: inner, height: this.rowHeight }, shapes);
      if (i % every === 0) {
        labels.push(svg("text", { x: timelineLeft - 8, y: y + this.rowHeight - (every > 1 ? 1 : 8),
          "text-anchor": "end" }, "rank " + entry.rank));
      }
    });
    const node = svg("svg", { width, height: height + 20, role: "img", tabindex: 0,
      id: "timeline-picture", "aria-label": "Calls of every rank over time. Keys: plus and minus " +
        "zoom, arrows move, Home shows all" },
    svg("defs", {}, hatchPattern("timeline-wait", "var(--soft)")),
    timelineTicks(this.view, inner, height), labels, shapes.nodes());
    node.addEventListener("keydown", (event) => this.key(event));
    node.addEventListener("pointermove", (event) => {
      const at = node.getBoundingClientRect();
      this.point((event.clientX - at.left - timelineLeft) / scale + this.view.from,
        Math.floor((event.clientY - at.top) / (this.rowHeight + gap)), 4 / scale);
    });
    const focused = this.place.contains(document.activeElement);
    this.place.replaceChildren(node);
    if (focused) node.focus({ preventScroll: true });
  }

  point(time, row, reach) {
    const entry = this.timeline.ranks[row];
    if (!entry) return;
    const call = entry.calls[firstCall(entry.calls, time - reach)];
    if (call && call[0] <= time + reach) {
      this.readout.textContent = timelineText(this.timeline, entry.rank, call);
    }
  }

  zoom(factor) {
    const middle = (this.view.from + this.view.to) / 2;
    const half = Math.max(1, (this.view.to - this.view.from) / 2 * factor);
    this.show(middle - half, middle + half);
  }

  pan(share) {
    const by = (this.view.to - this.view.from) * share;
    this.show(this.view.from + by, this.view.to + by);
  }

  show(from, to) {
    const length = Math.min(to - from, this.timeline.end_us);
    const begin = Math.min(Math.max(0, from), this.timeline.end_us - length);
    this.view = { from: begin, to: begin + length };
    this.draw();
    this.readout.textContent = "Shown: " + spanText(this.view.from) + " to " +
      spanText(this.view.to) + " of " + spanText(this.timeline.end_us) + ".";
  }

  key(event) {
    const actions = {
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      ArrowLeft: () => this.pan(-0.25), ArrowRight: () => this.pan(0.25),
      Home: () => this.show(0, this.timeline.end_us),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }
}

function timelineButtons(view) {
  const actions = [["zoom in", () => view.zoom(0.5)], ["zoom out", () => view.zoom(2)],
    ["earlier", () => view.pan(-0.25)], ["later", () => view.pan(0.25)],
    ["show all", () => view.show(0, view.timeline.end_us)]];
  return el("div", { class: "choices", role: "group", "aria-label": "Part of the timeline" },
    actions.map(([name, act]) => {
      const button = el("button", { type: "button" }, name);
      button.addEventListener("click", act);
      return button;
    }));
}

function timelineTable(timeline) {
  return table("What the timeline holds of every rank",
    ["rank", "#calls", "#not kept", "#moving us", "#waiting us"],
    timeline.ranks.map((entry) => el("tr", {}, el("th", { scope: "row" }, "rank " + entry.rank),
      figure(entry.calls.length, countText), figure(entry.dropped, countText),
      figure(entry.move_us, microText), figure(entry.wait_us, microText))), "timeline-ranks");
}

function showTimeline() {
  const timeline = report.timeline;
  if (!timeline.ranks.some((entry) => entry.calls.length)) {
    section("timeline", "Timeline", el("p", {}, "No rank recorded a call."));
    return;
  }
  const readout = el("p", { class: "readout", "aria-live": "polite", id: "timeline-readout" },
    "Point at a call to see what it was; zoom in until calls stand apart.");
  const place = el("div");
  const view = new TimelineView(timeline, place, readout);
  const used = paths.filter((path) => timeline.keys.some((key) => key.path === path));
  const dropped = timeline.ranks.reduce((sum, entry) => sum + entry.dropped, 0);
  section("timeline", "Timeline",
    el("p", {}, "Every call of every rank, from the first one on. Waiting is the time until the " +
      "peers had come; it is drawn at the beginning of a call. The rest is moving and reducing. " +
      "Between the calls the rank computes. Where calls lie too close, columns show what the time " +
      "went into, waiting in grey above the rest." + (dropped ? " Kept are the first calls of each " +
        "rank; " + dropped + " later ones are only counted." : "")),
    legend([...used.map((path) => [path, pathColour(path)]), ["waiting", "var(--soft)", true]]),
    timelineButtons(view), place, readout,
    el("details", {}, el("summary", {}, "Figures by rank"), timelineTable(timeline)));
  drawAtWidth(place, (width) => view.draw(width));
}
