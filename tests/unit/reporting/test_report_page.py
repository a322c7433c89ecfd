"""The page of a report: whole HTML, nothing from elsewhere, in two languages, and what a thin report leaves out."""

import re
import string
from collections import Counter
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
from report_documents import document, history, verdict

from app.reporting.page import Links, Neighbour, report_page
from app.reporting.series import SERIES
from app.reporting.trend_model import Method, Word
from app.reporting.words import CATALOGUE, LANGUAGES, Language, Words

LINKS = Links(
    json="daily_report_20260309.json",
    previous=Neighbour(name="2026-03-08", file="daily_report_20260308.html"),
    next=Neighbour(name="2026-03-10", file="daily_report_20260310.html"),
)
PERIOD = {
    "kind": "weekly",
    "period": "2026-W11",
    "first_day": "2026-03-09",
    "last_day": "2026-03-15",
    "timezone": "Asia/Shanghai",
    "generated_at": "2026-03-16T03:00:00+08:00",
    "period_over": True,
    "days_in_period": 7,
    "days_known": 5,
    "missing_days": ["2026-03-11", "2026-03-12"],
    "days": history(days=7, missing=frozenset({2, 3})),
    "comparison": {
        "period": "2026-W10",
        "days_known": 6,
        "days_in_period": 7,
        "figures": {
            "total_tasks": {"value": 100, "before": 80, "change_percent": None},
            "tasks_per_day": {"value": 20.0, "before": 16.0, "change_percent": 25.0},
            "failure_rate": {"value": 3.6, "before": 2.1, "change_points": 1.5},
        },
    },
}


def page(found: dict[str, Any] | None = None, language: Language = "en", **more: Any) -> str:
    return report_page(document() if found is None else found, language, LINKS, **more)


def parsed(html: str) -> ET.Element:
    """The page is written so that XML's strict parser takes it: every tag closed, every attribute quoted."""
    return ET.fromstring(html)  # noqa: S314 - a page of our own


def text_of(html: str) -> str:
    body = parsed(html).find("body")
    assert body is not None
    return " ".join(" ".join(body.itertext()).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("found", [document(), PERIOD | {"task_statistics": {"total_tasks": 100}}], ids=["day", "week"])
def test_the_page_is_well_formed_and_every_id_and_reference_stands_once(
    found: dict[str, Any], language: Language
) -> None:
    html = page(found, language)
    assert html.startswith("<!DOCTYPE html>")
    root = parsed(html)
    ids = Counter(element.get("id") for element in root.iter() if element.get("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    named = [name for element in root.iter() for name in element.get("aria-labelledby", "").split()]
    assert named
    assert set(named) <= set(ids)
    assert root.get("lang") == ("zh-CN" if language == "zh" else "en")


def test_the_page_needs_no_network_no_script_and_no_other_file() -> None:
    html = page()
    assert re.findall(r"https?:|//[a-z]|@import|url\(", html) == []
    root = parsed(html)
    assert {element.tag for element in root.iter()} & {"script", "link", "img", "iframe", "object", "embed"} == set()
    addresses = {element.get("href") for element in root.iter() if element.get("href")}
    assert addresses == {LINKS.json, "daily_report_20260308.html", "daily_report_20260310.html"}
    assert [name for element in root.iter() for name in element.attrib if name.startswith("on") or name == "src"] == []
    assert "default-src 'none'" in html


def test_every_chart_has_a_title_a_description_and_a_table() -> None:
    figures = list(parsed(page()).iter("figure"))
    keys = ["hours", "week", "eight-weeks", "durations", "categories", "disk-now"]
    assert [svg.get("id") for figure in figures for svg in figure.iter("svg")] == keys
    for figure in figures:
        svg = figure.find("svg")
        assert svg is not None
        assert svg.get("role") == "img"
        assert [child.tag for child in svg[:2]] == ["title", "desc"]
        assert all(child.text for child in svg[:2])
        assert figure.find("details//table/tbody/tr") is not None


def test_the_bars_say_what_they_stand_for() -> None:
    html = page()
    for told in ("23: 73 tasks", "物流查询错误: 33 tasks (73.3 %)", "1 s–1 min: 900 tasks", "03-06: 1,003 tasks"):
        assert f"<title>{told}</title>" in html


def test_figures_stand_with_units_bounds_and_verdicts_in_words() -> None:
    shown = text_of(page())
    for told in (
        "2026-03-09 Monday",
        "Tasks 1,250 usual: 1,000 to 1,401",
        "Failure rate 3.6 % 95 % bounds: 2.7 % to 4.79 %",
        "Mean time 45.2 s",
        "Busiest hour 23:00–24:00",
        "Failed unusual 45; 1,200 was expected, 1,000 to 1,401 is usual.",
        "The newest 1 of 45.",
        "1234567 t-1 物流查询 23:02:11 物流查询错误 物流接口无响应 3",
        "finished rows without a finish time: 3",
        "Previous: 2026-03-08",
    ):
        assert told in shown
    assert "rows with an unmapped status" not in shown


def test_too_little_history_is_told_plainly() -> None:
    thin = verdict("total_tasks", "insufficient data", expected=None, lower=None, upper=None, n_history=3)
    shown = text_of(page(document(trend_analysis={"verdicts": [thin]})))
    assert "insufficient data 1,250; 3 days are known, too few to say what is usual." in shown


def test_a_value_outside_its_band_that_is_no_anomaly_says_why() -> None:
    edge = verdict("total_tasks", value=1401)
    assert "1,401 lies outside 1,000 to 1,401, but the change is too small to count." in told_of(edge)
    assert "1,400; 1,000 to 1,401 is usual." in told_of(edge | {"value": 1400})


def told_of(one: dict[str, Any]) -> str:
    return text_of(page(document(trend_analysis={"verdicts": [one]})))


def test_every_verdict_and_method_of_the_model_has_words() -> None:
    assert set(get_args(Word)) | set(get_args(Method)) | set(SERIES) <= set(CATALOGUE)


def test_a_day_that_was_not_over_is_marked() -> None:
    assert "The day was not over" in text_of(page(document(day_over=False)))
    assert "The day was not over" not in text_of(page())


def test_a_missing_day_leaves_a_gap_in_the_line_and_in_the_band() -> None:
    whole = parsed(page())
    broken = parsed(page(document(trend_analysis={"history": history(missing=frozenset({20, 21}))})))

    def drawn(root: ET.Element, role: str) -> int:
        svg = next(svg for svg in root.iter("svg") if svg.get("id") == "eight-weeks")
        groups = [group for group in svg.iter("g") if group.get("class") == f"series {role}"]
        return sum(1 for group in groups for path in group.iter("path") if path.get("d"))

    assert (drawn(whole, "actual"), drawn(whole, "band")) == (1, 1)
    assert (drawn(broken, "actual"), drawn(broken, "band")) == (2, 2)


def test_a_band_out_of_all_proportion_does_not_flatten_the_line() -> None:
    wide = [day | {"upper": 40_000.0} if place == 5 else day for place, day in enumerate(history())]
    html = page(document(trend_analysis={"history": wide}))
    svg = next(svg for svg in parsed(html).iter("svg") if svg.get("id") == "eight-weeks")
    labels = [
        text.text for axis in svg.iter("g") if axis.get("class", "").startswith("axis y") for text in axis.iter("text")
    ]
    assert max(int(str(label).replace(",", "")) for label in labels) <= 2 * 1056
    assert "40,000" in text_of(html)


def test_an_unusual_day_stands_out() -> None:
    svg = next(svg for svg in parsed(page()).iter("svg") if svg.get("id") == "eight-weeks")
    odd = [circle for group in svg.iter("g") if group.get("class") == "series odd" for circle in group.iter("circle")]
    assert len(odd) == 1


def test_the_chinese_page_is_chinese() -> None:
    shown = text_of(page(language="zh"))
    for told in ("每日报告 2026-03-09 星期一", "任务总数 1,250", "失败 异常 45"):
        assert told in shown
    english = [english for english, _ in CATALOGUE.values() if len(english) > len("as usual") and "{" not in english]
    assert [word for word in english if word in shown] == []


def test_both_languages_say_everything_with_the_same_values() -> None:
    fields = string.Formatter().parse
    for key, pair in CATALOGUE.items():
        assert all(text.strip() for text in pair), key
        assert len({frozenset(name for _, name, _, _ in fields(text) if name) for text in pair}) == 1, key


def test_every_word_that_the_template_asks_for_is_in_the_catalogue() -> None:
    template = (Path(__file__).parents[3] / "app/reporting/templates/report.html").read_text(encoding="utf-8")
    assert set(re.findall(r'words\([\'"](\w+)[\'"]', template)) <= set(CATALOGUE)


def test_an_unknown_name_is_shown_and_a_known_one_worded() -> None:
    assert Words("zh").known("failure_rate") == "失败率"
    assert Words("zh").known("new_series") == "new series"


@pytest.mark.parametrize(
    "found",
    [
        {"task_statistics": {}},
        {"date": "2026-03-09", "task_statistics": {"total_tasks": 0}, "trend_analysis": None},
        {"date": 5, "task_statistics": {"total_tasks": "viele", "status_breakdown": []}, "error_statistics": []},
        document(trend_analysis={"history": [{"date": "gestern", "total_tasks": None}], "verdicts": [None, 5]}),
        document(error_statistics={"error_categories": {"坏": "x"}, "failed_tasks": {"no": "list"}}),
    ],
)
def test_a_report_that_is_not_whole_still_has_a_page(found: dict[str, Any]) -> None:
    parsed(page(found))


def test_an_empty_day_says_so_instead_of_drawing_nothing() -> None:
    empty = document(
        task_statistics={"total_tasks": 0},
        performance_statistics={"hourly_distribution": {str(hour): 0 for hour in range(24)}, "peak_hour": None},
        error_statistics={"total_errors": 0, "error_categories": {}, "failed_tasks": []},
    )
    shown = text_of(page(empty))
    assert "There is nothing to draw." in shown
    assert "No task failed." in shown


def test_the_disk_checks_of_the_day_are_drawn_for_each_mount() -> None:
    samples = [
        {"at": f"2026-03-09T{hour:02d}:15:00+08:00", "mounts": [{"mount": mount, "usage_percent": 60 + hour}]}
        for hour in range(24)
        for mount in ("/", "/数据")
    ]
    shown = page(disk=samples)
    assert "Disk space used during the day (%): /数据" in shown
    assert "<title>23:15: 83 %</title>" in shown
    assert 'id="disk-now"' not in shown


def test_the_page_of_a_week_names_missing_days_and_compares_with_the_week_before() -> None:
    shown = text_of(page(PERIOD | {"task_statistics": {"total_tasks": 100, "tasks_per_day": 20.0}}))
    for told in (
        "Weekly report 2026-W11",
        "2026-03-09 to 2026-03-15",
        "5 of 7 days are known. ",
        "No figures are stored of: 2026-03-11, 2026-03-12.",
        "Of 2026-W10, 6 of 7 days are known",
        "Tasks 100 80 –",
        "Tasks a day 20 16 +25 %",
        "Failure rate 3.6 % 2.1 % +1.5 points",
    ):
        assert told in shown
    assert "Failed tasks The newest" not in shown


def test_the_same_report_makes_the_same_page() -> None:
    assert page() == page()
