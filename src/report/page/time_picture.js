// Curves of microseconds over a size, both axes logarithmic: of measurements.

const dashes = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];

/// 10 to this power of microseconds.
function decadeText(power) {
  const unit = power < 3 ? 0 : power < 6 ? 1 : 2;
  return Number((10 ** (power - 3 * unit)).toPrecision(1)) + [" us", " ms", " s"][unit];
}

/// `sizeText` writes a size at the axis; `unit` follows it where one is pointed at.
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

function timeCurve(axes, name, points, number) {
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
    names.map((name, i) => timeCurve(axes, name, curves.get(name), i)).reverse()),
    el("ul", { class: "legend" }, names.map((name, i) => el("li", {},
      svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26,
        y1: 5, y2: 5, stroke: hue(i), "stroke-width": 2.4,
        "stroke-dasharray": dashes[i % dashes.length] || null })), name))));
}
