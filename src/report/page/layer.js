// A step of layer boundaries: its time over the rows of the batch, and the calls that it makes.

function layerPicture(rows) {
  const curves = new Map([["step", rows.map((row) => [row.rows, row.step.p50_us])]]);
  if (rows.every((row) => row.launched)) {
    curves.set("launched", rows.map((row) => [row.rows, row.launched.p50_us]));
  }
  const place = el("div", { class: "cards" });
  section("pictures", "Time over rows", el("p", {}, "Medians of a step, the slowest rank's. Both " +
    "axes are logarithmic." + (curves.has("launched") ? " A step is one graph; launched is the " +
    "same without." : "")), place);
  drawAtWidth(place, (width) => {
    place.style.gridTemplateColumns = "minmax(0, 1fr)";
    place.replaceChildren(timePicture("step of " + report.layer.layers + " layers", curves,
      Math.floor(width) - 28, "rows", countText, " rows"));
  });
}

function layerTable(rows) {
  const launched = rows.some((row) => row.launched);
  const times = (row) => [figure(row.step.min_us, microText), figure(row.step.p50_us, microText),
    figure(row.step.mean_us, microText), figure(row.step.p50_us_per_layer, microText),
    launched ? figure(row.launched.p50_us, microText) : null];
  return table("us of a step, the slowest rank's; a layer: the median for one of them" +
    (launched ? "; launched: the median without a graph" : ""),
  ["#rows", "#min", "#median", "#mean", "#a layer", ...(launched ? ["#launched"] : [])],
  rows.map((row) => el("tr", {}, figure(row.rows, countText), times(row))), "layer-table");
}

function layerCalls(rows) {
  return table("Calls of one layer on rank 0, in their order; bytes are those that the path is " +
    "chosen by", ["#rows", "group", "operation", "#bytes", "path", "reason"],
  rows.flatMap((row) => row.calls.map((call) => el("tr", {}, figure(row.rows, countText),
    el("td", {}, call.group), el("td", {}, call.op), figure(call.bytes, bytesText),
    el("td", {}, call.path), el("td", {}, call.reason)))), "layer-calls");
}

function showLayer() {
  const { ranks, device, layers, hidden, dtype, norm, rows } = report.layer;
  document.getElementById("summary").textContent = ranks + (ranks === 1 ? " rank" : " ranks") +
    ", device " + device + ": " + sizesText(report.layout.sizes) + "; " + layers + " layers, " +
    "hidden " + hidden + " " + dtype + (norm ? ", with norms" : "");
  layerPicture(rows);
  section("table", "As measured", layerTable(rows), rows.some((row) => row.calls.length) ?
    layerCalls(rows) : el("p", {}, "One rank moves nothing."));
  showLayout();
  showBoundaries();
}
