"""The page of a report in a browser, where one is installed: at two widths, in the dark, on paper, under attack."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_documents import document, hostile

from app.reporting.page import Links, report_page
from app.reporting.words import LANGUAGES, Language

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]
LINKS = Links(json="daily_report_20260309.json")
MEASURE = """
<!DOCTYPE html><meta charset="utf-8"><title></title>
<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
<script>
window.acted = 0;
window.addEventListener("load", () => {{
  const inner = document.querySelector("iframe").contentDocument, body = inner.body;
  const sizes = [...inner.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
  const told = {{
    needed: inner.documentElement.scrollWidth, room: inner.documentElement.clientWidth, acted: window.acted,
    charts: sizes.filter(size => size.width > 250 && size.height > 40).length,
    letters: Math.min(...[...inner.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height)),
    background: inner.defaultView.getComputedStyle(body).backgroundColor,
    scripts: inner.scripts.length,
    errors: performance.getEntriesByType("resource").length,
  }};
  document.documentElement.dataset.told = JSON.stringify(told);
}});
</script>
"""


def browse(folder: Path, page: Path, *arguments: str) -> str:
    assert BROWSER is not None
    # --no-sandbox: tests may run as root, whom the browser's sandbox refuses; the page is our own.
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1400,1000", *arguments, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=150, check=True, text=True)
    return done.stdout


def measured(folder: Path, page: str, width: int, *arguments: str) -> dict[str, Any]:
    frame = folder / "frame.html"
    frame.write_text(MEASURE.format(width=width, page=html.escape(page)), encoding="utf-8")
    found = re.search(r'data-told="([^"]*)"', browse(folder, frame, "--dump-dom", *arguments))
    assert found is not None
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_juts_out_and_every_chart_can_be_read(tmp_path: Path, width: int, language: Language) -> None:
    told = measured(tmp_path, report_page(document(), language, LINKS), width)
    assert told["needed"] <= told["room"] <= width
    assert told["charts"] == 6
    assert told["letters"] >= 8
    assert (told["scripts"], told["errors"]) == (0, 0)


def test_the_page_follows_light_and_dark(tmp_path: Path) -> None:
    page = report_page(document(), "en", LINKS)
    light = measured(tmp_path, page, 1280)["background"]
    dark = measured(tmp_path, page, 1280, "--blink-settings=preferredColorScheme=0")["background"]
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (light, dark)]
    assert brightness[0] > 3 * 200
    assert brightness[1] < 3 * 60


def test_the_page_prints(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(report_page(document(), "zh", LINKS), encoding="utf-8")
    printed = tmp_path / "page.pdf"
    browse(tmp_path, page, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "attack",
    [
        "<script>parent.acted=1</script>",
        "<img src=x onerror='parent.acted=1'>",
        '"><svg onload="parent.acted=1">',
        "</style></svg></title><script>parent.acted=1</script>",
    ],
)
def test_text_of_the_application_does_nothing(tmp_path: Path, attack: str) -> None:
    told = measured(tmp_path, report_page(hostile(attack), "en", LINKS), 1280)
    assert (told["acted"], told["scripts"]) == (0, 0)
    assert told["needed"] <= told["room"]


def test_an_attack_that_worked_would_be_seen(tmp_path: Path) -> None:
    page = report_page(document(), "en", LINKS)
    unguarded = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</main>", "<script>parent.acted=1</script></main>")
    assert measured(tmp_path, unguarded, 1280)["acted"] == 1
