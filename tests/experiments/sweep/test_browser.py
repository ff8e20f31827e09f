"""The report page in Chromium, where there is one."""

import shutil
import subprocess

import matplotlib.pyplot as plt
import pytest

from experiments.sweeping import outputs, page_style, space
from tests.experiments.sweep import made_up
from tests.experiments.sweep.test_outputs import measure

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome",
                                                "google-chrome-stable"))), None)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium"),
]


def browse(path, folder, *options):
    """Return what the browser prints, and its complaints of the page."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--enable-logging=stderr", f"--user-data-dir={folder}", "--timeout=60000",
               "--virtual-time-budget=5000", *options, path.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    config = made_up.make_config(folder, storage=f"journal:{folder}/study.log")
    study = made_up.finish(config, measure)
    outputs.write_all(config, study, space.parse_axes(config.axes, config.base))
    return config.folder / "report.html"


def test_opens_without_complaints(report, tmp_path):
    shot = tmp_path / "shot.png"
    _, complaints = browse(report, tmp_path / "one", f"--screenshot={shot}",
                           "--window-size=1200,2400")  # fmt: skip
    assert complaints == []
    image = plt.imread(shot)[..., :3]
    assert image.shape[1] == 1200
    assert image.var() > 1e-3
    # The check sees a fault: a page that asks for another's script, against its own policy.
    broken = tmp_path / "broken.html"
    asked = '<script src="https://example.invalid/x.js"></script></body>'
    broken.write_text(report.read_text().replace("</body>", asked))
    assert browse(broken, tmp_path / "two", "--dump-dom")[1]


def test_tables_are_sorted_by_a_click(report, tmp_path):
    clicked = tmp_path / "clicked.html"
    # The table of all trials; its third click on "trial" falls again.
    click = ('<script>for (let i = 0; i < 2; i++) document.querySelectorAll("table.sortable")[1]'
             '.querySelector("th button").click();</script></body>')  # fmt: skip
    clicked.write_text(report.read_text().replace("</body>", click))
    dom, complaints = browse(clicked, tmp_path / "three", "--dump-dom")
    assert complaints == []
    table = dom.split("<h2>All 6 trials</h2>")[1].split("</table>")[0]
    numbers = [int(line.split(">")[2].split("<")[0]) for line in table.split("<tr ")[1:]]
    assert numbers == [5, 4, 3, 2, 1, 0]
    assert 'aria-sort="descending"' in table


def test_the_page_prints(report, tmp_path):
    pdf = tmp_path / "page.pdf"
    browse(report, tmp_path / "four", f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert "@media print" in page_style.STYLE
