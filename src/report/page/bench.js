// A measurement: the table as measured, and time over bytes.

const dashes = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];

/// One picture for each operation and number of ranks: warm buffers, operands in the heap.
function benchPictures(rows) {
  const pictures = new Map();
  for (const row of rows) {
    if (row.buffers !== "warm" || row.operands !== "heap" || row.bytes === 0) continue;
    if (row.op === "barrier" || row.op === "agreement" || row.op === "host") continue;
    const name = row.op + ", " + row.ranks + " ranks";
    if (!pictures.has(name)) pictures.set(name, new Map());
    const curves = pictures.get(name);
    const add = (curve, us) => {
      if (!curves.has(curve)) curves.set(curve, []);
      curves.get(curve).push([row.bytes, us]);
    };
    add("cohort", row.p50_us);
    for (const [peer, times] of Object.entries(row.peers)) add(peer, times.p50_us);
    if (row.references.memcpy) add("memcpy", row.references.memcpy.p50_us);
  }
  return pictures;
}

/// 10 to this power of microseconds.
function decadeText(power) {
  const unit = power < 3 ? 0 : power < 6 ? 1 : 2;
  return Number((10 ** (power - 3 * unit)).toPrecision(1)) + [" us", " ms", " s"][unit];
}

/// Microseconds over a size, which `sizeText` writes, without its unit if that has one of its own.
class LogAxes {
  constructor(curves, width, height, sizeText, unit) {
    this.sizeText = sizeText;
    this.unit = unit;
    const points = [...curves.values()].flat();
    const sizes = points.map((point) => Math.log2(point[0]));
    const times = points.map((point) => Math.log10(Math.max(point[1], 1e-3)));
    this.firstPower = Math.floor(Math.min(...sizes));
    this.lastPower = Math.max(this.firstPower + 1, Math.ceil(Math.max(...sizes)));
    this.firstDecade = Math.floor(Math.min(...times));
    this.lastDecade = Math.max(this.firstDecade + 1, Math.ceil(Math.max(...times)));
    this.left = 64;
    this.right = width - 14;
    this.top = 8;
    this.bottom = height - 26;
  }

  x(size) {
    return this.left + (Math.log2(size) - this.firstPower) / (this.lastPower - this.firstPower) *
      (this.right - this.left);
  }

  y(us) {
    return this.bottom - (Math.log10(Math.max(us, 1e-3)) - this.firstDecade) /
      (this.lastDecade - this.firstDecade) * (this.bottom - this.top);
  }

  nodes() {
    const nodes = [];
    const step = Math.max(1, Math.ceil((this.lastPower - this.firstPower) / 5));
    for (let power = this.firstPower; power <= this.lastPower; power += step) {
      const x = this.x(2 ** power);
      nodes.push(svg("line", { x1: x, x2: x, y1: this.top, y2: this.bottom, class: "grid" }),
        svg("text", { x: x > this.right - 24 ? this.right + 12 : x, y: this.bottom + 17,
          "text-anchor": x > this.right - 24 ? "end" : "middle", class: "soft" },
          this.sizeText(2 ** power).replace(/\.0+ /, " ")));
    }
    for (let decade = this.firstDecade; decade <= this.lastDecade; ++decade) {
      const y = this.y(10 ** decade);
      nodes.push(svg("line", { x1: this.left, x2: this.right, y1: y, y2: y, class: "grid" }),
        svg("text", { x: this.left - 7, y: y + 4, "text-anchor": "end", class: "soft" },
          decadeText(decade)));
    }
    return nodes;
  }
}

function benchCurve(axes, name, points, number) {
  const colour = hue(number);
  const place = (point) => axes.x(point[0]).toFixed(1) + "," + axes.y(point[1]).toFixed(1);
  return [svg("polyline", { points: points.map(place).join(" "), fill: "none", stroke: colour,
    "stroke-width": name === "cohort" ? 2.6 : 1.6,
    "stroke-dasharray": dashes[number % dashes.length] || null }),
  points.map((point) => svg("circle", { cx: axes.x(point[0]), cy: axes.y(point[1]), r: 3,
    fill: colour }, svg("title", {}, name + ": " + axes.sizeText(point[0]) + axes.unit + ", " +
    microText(point[1]) + " us")))];
}

function timePicture(title, curves, width, over, sizeText, unit = "") {
  const height = 260;
  const axes = new LogAxes(curves, width, height, sizeText, unit);
  const names = [...curves.keys()];
  return el("figure", { class: "card" }, el("h4", {}, title),
    svg("svg", { width, height, role: "img", "aria-label": title + ": microseconds over " + over +
      "; the table has the figures" }, axes.nodes(),
    names.map((name, i) => benchCurve(axes, name, curves.get(name), i)).reverse()),
    el("ul", { class: "legend" }, names.map((name, i) => el("li", {},
      svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26,
        y1: 5, y2: 5, stroke: hue(i), "stroke-width": 2.4,
        "stroke-dasharray": dashes[i % dashes.length] || null })), name))));
}

function benchTable(rows) {
  const timesText = (entries) => Object.entries(entries).map(([name, times]) =>
    name + " " + microText(times.p50_us)).join(", ") || "-";
  const ratio = (row) => {
    const peers = Object.values(row.peers).map((times) => times.p50_us);
    return peers.length ? figure(Math.min(...peers) / row.p50_us, (value) => value.toFixed(2)) :
      el("td", { class: "figure" }, "-");
  };
  return table("us per call, the longest of all ranks; ratio: the best peer's median over cohort's",
    ["operation", "type", "#ranks", "#bytes", "path", "buffers", "operands", "#min", "#median",
      "#mean", "#p99", "#ratio", "~peers' medians", "~references"],
    rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.op), el("td", {}, row.dtype),
      figure(row.ranks, countText), figure(row.bytes, bytesText), el("td", {}, row.path),
      el("td", {}, row.buffers), el("td", {}, row.operands), figure(row.min_us, microText),
      figure(row.p50_us, microText), figure(row.mean_us, microText),
      figure(row.p99_us, microText), ratio(row), el("td", {}, timesText(row.peers)),
      el("td", {}, timesText(row.references)))), "bench-table");
}

function showBench() {
  const { machine, rows, remarks, paths: table } = report.bench;
  document.getElementById("summary").textContent = rows.length + " measurements on " +
    machine.cpus + " CPUs (" + machine.cpu + "), device " + report.bench.device;
  const pictures = benchPictures(rows);
  if (pictures.size) {
    const place = el("div", { class: "cards" });
    section("pictures", "Time over bytes", el("p", {}, "Medians of warm buffers with operands in " +
      "the heap. Both axes are logarithmic."), place);
    drawAtWidth(place, (width) => {
      const wide = width >= 680 ? (width - 10) / 2 : width;
      place.style.gridTemplateColumns = width >= 680 ? "1fr 1fr" : "minmax(0, 1fr)";
      place.replaceChildren(...[...pictures].map(([title, curves]) =>
        timePicture(title, curves, Math.floor(wide) - 28, "bytes", bytesText)));
    });
  }
  section("table", "As measured", benchTable(rows),
    table ? el("p", { class: "soft" }, el("code", {}, table)) : null,
    remarks.map((remark) => el("p", {}, "Not compared with " + remark.who + ": ",
      sentence(remark.text))));
}
