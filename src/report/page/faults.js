// Faults of the field: what was seen when they were replayed.

function faultCard(fault) {
  const verdict = (seen, said, words) => el("span", { class: said ? "kept" : "miss" },
    seen.outcome + (said ? "" : words));
  return el("div", { class: "card fault", "data-name": fault.name }, el("h3", {}, fault.name),
    el("p", {}, fault.what),
    el("dl", {}, el("dt", {}, "engines"), el("dd", {}, fault.engines),
      el("dt", {}, "naive"), el("dd", {}, el("span", { class: "miss" }, fault.naive.outcome),
        (fault.naive.failed ? ": " : " (did not fail): ") + fault.naive.observed),
      el("dt", {}, "cohort"), el("dd", {}, verdict(fault.cohort, fault.cohort.kept, " (NOT KEPT)"),
        ": " + fault.cohort.observed),
      el("dt", {}, "why"), el("dd", {}, fault.why)));
}

function faultTable(faults) {
  return table("Outcomes, and how long each replay took",
    ["fault", "naive", "#naive s", "cohort", "#cohort s"],
    faults.map((fault) => el("tr", {},
      el("th", { scope: "row" }, fault.name),
      el("td", { class: fault.naive.failed ? "miss" : "" }, fault.naive.outcome),
      figure(fault.naive.seconds, secondsText),
      el("td", { class: fault.cohort.kept ? "kept" : "miss" }, fault.cohort.outcome),
      figure(fault.cohort.seconds, secondsText))), "faults-table");
}

function showFaults() {
  const { faults, ranks, seconds } = report.faults;
  const failed = faults.filter((fault) => fault.naive.failed).length;
  const kept = faults.filter((fault) => fault.cohort.kept).length;
  document.getElementById("summary").textContent = faults.length + " faults on " + ranks +
    " ranks in " + seconds.toFixed(1) + " s: the naive way failed in " + failed +
    ", cohort kept its promise in " + kept;
  section("outcomes", "Outcomes", el("p", {}, "Each fault is replayed twice on this machine: the " +
    "way that engines do it, where a watchdog ends what hangs, and over this library. Naive: " +
    "wrong (results, and no error), hang, slow (a path that nobody is told of). cohort: right, " +
    "refused (on all ranks, and the job lives on), ended (all ranks, with one error)."),
  faultTable(faults));
  section("replays", "Replays", el("div", { class: "cards" }, faults.map(faultCard)));
}
