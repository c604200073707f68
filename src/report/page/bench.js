// A measurement: the table as measured, and time over bytes.

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
