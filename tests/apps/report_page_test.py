"""Reports as people see them. report_page_test.py PROGRAM [SCREENSHOTS]: the program writes the
pages; with a folder for screenshots they are kept there."""

import decimal
import pathlib
import subprocess
import sys
import tempfile
import unittest

from selenium.webdriver.common.keys import Keys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from report_browser import Browser  # noqa: E402

JOBS = ("job_1", "job_4", "job_64")
PAGES = JOBS + ("bench", "layer", "faults")


def rounded(value, digits):
    """As browsers do: halves go up."""
    return str(decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-digits),
                                               rounding=decimal.ROUND_HALF_UP))


def bytes_text(count):
    if count < 1024:
        return f"{count} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            break
    return f"{rounded(count, 2 if count < 10 else 1)} {unit}"


class ReportPages(unittest.TestCase):
    program = ""
    screenshots = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.pages = pathlib.Path(cls.folder.name)
        subprocess.run([cls.program, cls.folder.name], check=True, timeout=60)
        cls.browser = Browser(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.folder.cleanup()

    def open(self, page, width=1280, scheme="light"):
        self.browser.open(self.pages / f"{page}.html", width, scheme)
        self.assertEqual(self.browser.run("return document.documentElement.dataset.ready"), "yes")

    def test_every_page_is_sound_at_every_width_and_in_both_schemes(self):
        for page in PAGES:
            for width, scheme in ((1280, "light"), (390, "dark")):
                with self.subTest(page=page, width=width, scheme=scheme):
                    self.open(page, width, scheme)
                    self.assertEqual(self.browser.complaints(), [])
                    self.assertFalse(self.browser.scrolls_sideways())
                    self.assertEqual(self.browser.name_faults(), [])
                    for chosen in ("light", "dark"):
                        self.browser.run("[...document.querySelectorAll('#theme button')].find("
                                         "(b) => b.textContent === arguments[0]).click()", chosen)
                        count, faults = self.browser.contrast_faults()
                        self.assertGreater(count, 20)
                        self.assertEqual(faults, [], chosen)
                    self.keep(page, width, scheme)

    def keep(self, page, width, scheme):
        if not self.screenshots:
            return
        self.browser.run("document.querySelector('#theme button').click()")
        self.browser.screenshot(self.screenshots / f"{page}-{width}-{scheme}.png")

    def test_the_verdicts_are_those_of_the_json(self):
        for page in JOBS:
            self.open(page)
            data = self.browser.data()
            rows = self.browser.table("verdicts-table")
            self.assertEqual(len(rows), len(data["communication"]))
            for row, told in zip(data["communication"], rows):
                texts = [text for text, _ in told]
                self.assertEqual([texts[0], *texts[2:5]],
                                 [row["group"], row["op"], row["path"], row["reason"]])
                self.assertEqual([value for _, value in told[5:10]], [
                    row["calls"], row["bytes"], row["copied_bytes"], row["transfer_s"],
                    row["wait_s"]])
                self.assertEqual(texts[5:8], [str(row["calls"]), bytes_text(row["bytes"]),
                                              bytes_text(row["copied_bytes"])])
                self.assertEqual(texts[8], rounded(row["transfer_s"], 3))
            self.assertEqual(
                [[text for text, _ in row] for row in self.browser.table("reasons")],
                [[r["reason"], r["meaning"], r["todo"] or "nothing"] for r in data["reasons"]])
            self.assertEqual({row["reason"] for row in data["communication"]},
                             {r["reason"] for r in data["reasons"]})

    def test_flags_in_sentences_stay_on_one_line(self):
        for width in (1280, 700, 390):
            self.open("job_4", width)
            flags = self.browser.run(
                "return [...document.querySelectorAll('#reasons .flag')].map((flag) => "
                "[flag.textContent, flag.getClientRects().length])")
            self.assertIn(["--pool", 1], flags)
            self.assertEqual({lines for _, lines in flags}, {1})
            self.assertEqual(self.browser.run(
                "return getComputedStyle(document.querySelector('#reasons .flag')).whiteSpace"),
                "nowrap")
            self.assertFalse(self.browser.scrolls_sideways())

    def test_groups_of_a_kind_are_summed_where_there_are_many(self):
        self.open("job_64")
        rows = self.browser.data()["communication"]
        for cells in self.browser.table("verdicts-by-kind"):
            key = [cells[0][0], *(text for text, _ in cells[2:5])]
            same = [r for r in rows if [r["group"], r["op"], r["path"], r["reason"]] == key]
            if len(same) > 1:
                self.assertTrue(cells[1][0].startswith(f"{len(same)} groups of "))
            self.assertEqual(cells[6][1], sum(row["bytes"] for row in same))
            self.assertEqual(cells[9][1], max(row["wait_s"] for row in same))

    def test_a_layer_is_told_as_measured(self):
        self.open("layer")
        rows = self.browser.data()["layer"]["rows"]
        self.assertEqual(
            [[value for _, value in row] for row in self.browser.table("layer-table")],
            [[r["rows"], r["step"]["min_us"], r["step"]["p50_us"], r["step"]["mean_us"],
              r["step"]["p50_us_per_layer"], r["launched"]["p50_us"]] for r in rows])
        self.assertEqual(
            [[row[0][1], row[1][0], row[2][0], row[3][1], row[4][0], row[5][0]]
             for row in self.browser.table("layer-calls")],
            [[r["rows"], c["group"], c["op"], c["bytes"], c["path"], c["reason"]]
             for r in rows for c in r["calls"]])
        drawn = self.browser.run("return document.querySelectorAll('#pictures circle').length")
        self.assertEqual(drawn, 2 * len(rows))

    def test_the_memory_is_that_of_the_json(self):
        for page in JOBS:
            self.open(page)
            footprint = self.browser.data()["plan"]["footprint"]
            rows = self.browser.table("footprint")
            self.assertEqual([row[0][0] for row in rows], [r["name"] for r in footprint["rows"]])
            self.assertEqual([row[5][1] for row in rows], [r["bytes"] for r in footprint["rows"]])
            self.assertEqual([row[5][0] for row in rows],
                             [bytes_text(r["bytes"]) for r in footprint["rows"]])
            arena = [i for i, r in enumerate(footprint["rows"])
                     if r["kind"] not in ("control", "nccl") and r["bytes"]]
            drawn = self.browser.run(
                "return [...document.querySelectorAll('#arena-map rect[data-row]')]"
                ".map((r) => Number(r.dataset.row))")
            self.assertEqual(sorted(drawn), arena)
            self.assertEqual(self.browser.run(
                "return Number(document.querySelector('#arena dd').dataset.value)"),
                footprint["arena_bytes"])

    def test_the_timeline_is_that_of_the_json(self):
        for page in JOBS:
            self.open(page)
            ranks = self.browser.data()["timeline"]["ranks"]
            self.assertEqual(
                [[value for _, value in row[1:]] for row in self.browser.table("timeline-ranks")],
                [[len(r["calls"]), r["dropped"], r["move_us"], r["wait_us"]] for r in ranks])

    def test_the_timeline_tells_the_call_that_is_pointed_at(self):
        self.open("job_4")
        timeline = self.browser.data()["timeline"]
        call = timeline["ranks"][2]["calls"][0]
        key = timeline["keys"][call[3]]
        told = self.browser.run("""
            const picture = document.getElementById("timeline-picture");
            const at = picture.getBoundingClientRect();
            const scale = (at.width - timelineLeft) / report.timeline.end_us;
            const middle = arguments[0] + arguments[1] / 2;
            picture.dispatchEvent(new PointerEvent("pointermove", {
              clientX: at.left + timelineLeft + middle * scale, clientY: at.top + 2 * 31 + 8 }));
            return document.getElementById("timeline-readout").textContent;""", call[0], call[1])
        self.assertIn("rank 2, ", told)
        for word in (key["op"], key["group"], key["path"], key["reason"], bytes_text(call[4])):
            self.assertIn(word, told)

    def test_the_timeline_zooms_and_moves_by_keys(self):
        self.open("job_4")
        end = self.browser.data()["timeline"]["end_us"]
        picture = self.browser.driver.find_element("id", "timeline-picture")
        self.browser.run("arguments[0].focus()", picture)
        shown = "return document.getElementById('timeline-readout').textContent"
        for key in ("+", "+", Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "-", Keys.HOME):
            before = self.browser.run(shown)
            self.browser.driver.switch_to.active_element.send_keys(key)
            self.assertNotEqual(self.browser.run(shown), before)
        self.assertIn("Shown: 0.00 us to", self.browser.run(shown))
        self.assertGreater(end, 0)
        self.assertEqual(self.browser.complaints(), [])

    def test_the_matrix_has_every_rank_in_its_groups(self):
        for page in JOBS:
            self.open(page)
            layout = self.browser.data()["layout"]
            cells = self.browser.run(
                "return [...document.querySelectorAll('#matrix td[data-kind]')].map((cell) => "
                "[cell.dataset.kind, Number(cell.dataset.rank), cell.dataset.group])")
            self.assertEqual(len(cells), layout["world"] * len(layout["groups"]))
            for kind, rank, group in cells:
                holders = [i for i, ranks in enumerate(layout["groups"][kind]) if rank in ranks]
                self.assertEqual([] if group is None else [int(group)], holders, (kind, rank))

    def test_the_matrix_tells_the_members_by_pointer_and_by_keys(self):
        self.open("job_4")
        self.browser.run("""
            const cell = document.querySelector("#matrix td[data-kind=attn_cp][data-rank='2']");
            cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));""")
        lit = "return [...document.querySelectorAll('#matrix td.lit')].map((c) => c.dataset.rank)"
        read = "return document.getElementById('matrix-readout').textContent"
        self.assertEqual(self.browser.run(lit), ["2", "3"])
        self.assertEqual(self.browser.run(read), "rank 2: attn_cp group 1, ranks 2-3")
        self.browser.run("document.querySelector(\"#matrix td[tabindex='0']\").focus()")
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN):
            self.browser.driver.switch_to.active_element.send_keys(key)
        self.assertEqual(self.browser.run(read), "rank 1: tp group 0, ranks 0-3")

    def test_every_control_is_reached_by_the_tabulator(self):
        for page in PAGES:
            self.open(page)
            wanted = self.browser.run(
                "return document.querySelectorAll(\"a, button, summary, [tabindex='0']\").length")
            reached = set()
            for _ in range(wanted + 2):
                self.browser.driver.switch_to.active_element.send_keys(Keys.TAB)
                reached.add(self.browser.run(
                    "const all = [...document.querySelectorAll('*')];"
                    "return all.indexOf(document.activeElement)"))
            hidden = self.browser.run(
                "return [...document.querySelectorAll(\"a, button, [tabindex='0']\")]"
                ".filter((node) => node.closest('details:not([open])')).length")
            body = {self.browser.run("return [...document.querySelectorAll('*')]"
                                     ".indexOf(document.body)")}
            self.assertEqual(len(reached - body), wanted - hidden, page)

    def test_boundaries_and_strips_are_those_of_the_json(self):
        self.open("job_4")
        steps = self.browser.data()["boundaries"]
        cards = self.browser.run(
            "return [...document.querySelectorAll('.boundary')].map((card) => [...card"
            ".querySelectorAll('h4, .flow li')].map((node) => node.textContent))")
        told = []
        for step in steps:
            for boundary in step["boundaries"]:
                calls = [s["kind"] + (" over " + s["group"] if s["group"] else "")
                         for s in boundary["steps"]] or ["nothing to move"]
                told.append([boundary["name"], boundary["before"]["placement"], *calls,
                             boundary["after"]["placement"]])
        self.assertEqual(cards, told)

    def test_the_measurement_is_that_of_the_json(self):
        self.open("bench")
        rows = self.browser.data()["bench"]["rows"]
        told = self.browser.table("bench-table")
        self.assertEqual(len(told), len(rows))
        for row, cells in zip(rows, told):
            self.assertEqual([value for _, value in cells[7:11]],
                             [row["min_us"], row["p50_us"], row["mean_us"], row["p99_us"]])
            best = min(peer["p50_us"] for peer in row["peers"].values())
            self.assertEqual(cells[11][0], rounded(best / row["p50_us"], 2))
        curves = self.browser.run("return document.querySelectorAll('#pictures polyline').length")
        self.assertEqual(curves, 4 * 4)  # two operations on 2 and on 4 ranks

    def test_the_replays_are_those_of_the_json(self):
        self.open("faults")
        data = self.browser.data()["faults"]
        told = self.browser.table("faults-table")
        self.assertEqual(
            [[row[0][0], row[1][0], row[2][1], row[3][0], row[4][1]] for row in told],
            [[f["name"], f["naive"]["outcome"], f["naive"]["seconds"], f["cohort"]["outcome"],
              f["cohort"]["seconds"]] for f in data["faults"]])
        cards = self.browser.run(
            "return [...document.querySelectorAll('.fault')].map((card) => card.textContent)")
        for fault, card in zip(data["faults"], cards):
            for text in (fault["what"], fault["why"], fault["naive"]["observed"],
                         fault["cohort"]["observed"]):
                self.assertIn(text, card)
        self.assertIn("NOT KEPT", cards[0])

    def test_prints_without_controls_and_in_light_colours(self):
        self.open("job_4", scheme="dark")
        self.browser.media("print", "dark")
        self.assertEqual(self.browser.run(
            "return [getComputedStyle(document.querySelector('nav')).display, "
            "getComputedStyle(document.body).backgroundColor]"), ["none", "rgb(255, 255, 255)"])
        _, faults = self.browser.contrast_faults()
        self.assertEqual(faults, [])


if __name__ == "__main__":
    ReportPages.program = sys.argv.pop(1)
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).is_dir():
        ReportPages.screenshots = pathlib.Path(sys.argv.pop(1))
    unittest.main()
