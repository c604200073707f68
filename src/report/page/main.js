// Which parts there are follows from what the data are of.

themeButtons();
document.title = "cohort " + report.kind + " report";
document.getElementById("title").textContent = "cohort " + report.kind;
document.getElementById("foot").textContent = "Made by cohort " + report.version +
  ". The page is complete in itself; all figures come from the JSON within it.";
if (report.kind === "bench") showBench();
else if (report.kind === "faults") showFaults();
else showJob();
document.documentElement.dataset.ready = "yes";
