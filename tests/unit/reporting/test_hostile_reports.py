"""Text of the application stays text in JSON, page, CSV and terminal, whatever it holds."""

import csv
import io
import json
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from hostile_texts import PAYLOADS
from report_documents import document, hostile

from app.cli import gengfu
from app.core.atomic_json import write_json
from app.reporting.export import TASK_COLUMNS, as_csv, json_text, neutral, task_lines
from app.reporting.page import Links, report_page
from app.reporting.page_values import shown

LINKS = Links(json="daily_report_20260309.json")
FORMULA = set("=+-@\t\r\n|%＝＋－＠")


def quiet(text: str) -> bool:
    """Tell whether nothing of the text acts on a terminal."""
    return all(char == "\n" or char.isprintable() for char in text)


@cache
def harmless() -> tuple[set[str], set[str]]:
    """Return the elements and attributes of pages with harmless text."""
    roots = [ET.fromstring(report_page(found, "en", LINKS)) for found in (document(), hostile("无害"))]  # noqa: S314
    elements = [element for root in roots for element in root.iter()]
    return {element.tag for element in elements}, {name for element in elements for name in element.attrib}


def test_there_are_sixty_different_texts() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 60


@pytest.mark.parametrize("text", PAYLOADS, ids=ascii)
def test_the_page_shows_it_as_text(text: str) -> None:
    html = report_page(hostile(text), "en", LINKS)
    root = ET.fromstring(html)  # noqa: S314 - a page of our own
    tags, attributes = harmless()
    assert {element.tag for element in root.iter()} <= tags
    assert {name for element in root.iter() for name in element.attrib} <= attributes
    assert {element.get("href") for element in root.iter() if element.get("href")} == {LINKS.json}
    cells = ["".join(cell.itertext()) for cell in root.iter("td")]
    assert cells.count(shown(text)) >= 4
    assert quiet(html)


@pytest.mark.parametrize("text", PAYLOADS, ids=ascii)
def test_the_terminal_shows_it_as_text(text: str, tmp_path: Path) -> None:
    write_json(tmp_path / "home" / "reports" / "daily" / "daily_report_20260309.json", hostile(text))
    for arguments in (["show"], ["show", "--compare", "2026-03-09"], ["list"], ["show", "--json"]):
        done = CliRunner().invoke(gengfu, ["report", *arguments], env={"COLUMNS": "120"})
        assert done.exit_code == 0, done.output
        assert quiet(done.stdout), arguments


@pytest.mark.parametrize("text", PAYLOADS, ids=ascii)
def test_a_spreadsheet_takes_it_for_text(text: str) -> None:
    written = "".join(as_csv(TASK_COLUMNS, task_lines([hostile(text)])))
    (line,) = csv.DictReader(io.StringIO(written, newline=""))
    assert line["message"] in {shown(text), f"'{shown(text)}"}
    assert not FORMULA & {cell.lstrip()[:1] for cell in line.values()}
    assert quiet(written.replace("\r\n", "\n"))


@pytest.mark.parametrize("text", PAYLOADS, ids=ascii)
def test_json_gives_it_back_unchanged_and_says_it_without_acting(text: str, tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", hostile(text))
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert read == hostile(text)
    assert json.loads(json_text(read)) == read
    assert quiet(json_text(read))


@pytest.mark.parametrize(
    ("value", "cell"),
    [(-5, -5), (1.5, 1.5), (None, ""), ("-5", "'-5"), ("2026-03-09", "2026-03-09"), ("", ""), ("二维码", "二维码")],
)
def test_numbers_stay_numbers_and_plain_text_stays_plain(value: object, cell: object) -> None:
    assert neutral(value) == cell


def test_an_astral_control_character_and_half_a_pair_are_escaped_in_json() -> None:
    text = json_text({"tag": "\U000e0001", "half": "\udc80"})
    assert quiet(text)
    assert json.loads(text) == {"tag": "\U000e0001", "half": "\udc80"}
