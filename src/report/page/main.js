// Which parts there are follows from what the data are of.

themeButtons();
const command = "cohort " + (report.kind === "layer" ? "bench layer" : report.kind);
document.title = command + " report";
document.getElementById("title").textContent = command;
document.getElementById("foot").textContent = "Made by cohort " + report.version +
  ". The page is complete in itself; all figures come from the JSON within it.";
if (report.kind === "bench") showBench();
else if (report.kind === "layer") showLayer();
else if (report.kind === "faults") showFaults();
else showJob();
document.documentElement.dataset.ready = "yes";
