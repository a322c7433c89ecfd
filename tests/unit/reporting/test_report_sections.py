"""Sections find themselves: one file, one key."""

from datetime import UTC, date, datetime
from pathlib import Path

from app.reporting import sections
from app.reporting.facts import Facts
from app.reporting.figures import QUARTER_HOUR, Cell, DayDetails, Slots, Spread, day_figures

START = datetime(2026, 3, 9, tzinfo=UTC)
NOTHING = DayDetails(categories={}, distinct_messages=0, slowest=(), failed=())


def facts(*cells: Cell) -> Facts:
    from zoneinfo import ZoneInfo

    return Facts(
        day=date(2026, 3, 9),
        start=START,
        end=datetime(2026, 3, 10, tzinfo=UTC),
        figures=day_figures(cells, Spread(), NOTHING, Slots(start=START, length=QUARTER_HOUR, zone=ZoneInfo("UTC"))),
        trend={"trend_direction": None},
        system={"queue_statistics": {"receipt": 3}},
        unmapped=(),
        rows_removed=0,
    )


def cell(state: str, slot: int | None, rows: int, retries: int | None = 0) -> Cell:
    return Cell(state=state, slot=slot, retries=retries, odd=0, rows=rows)


def test_every_file_of_the_folder_is_a_section_of_the_report() -> None:
    files = {path.stem for path in Path(sections.__file__).parent.glob("*.py")} - {"__init__"}
    assert sections.build_sections(facts()).keys() == files
    assert files >= {
        "task_statistics",
        "performance_statistics",
        "error_statistics",
        "system_statistics",
        "trend_analysis",
    }


def test_what_the_caller_measured_is_passed_on() -> None:
    built = sections.build_sections(facts())
    assert built["system_statistics"] == {"queue_statistics": {"receipt": 3}}


def test_of_equally_busy_hours_the_earlier_is_the_peak() -> None:
    built = sections.build_sections(facts(cell("completed", 4 * 20, 5), cell("completed", 4 * 7 + 3, 5)))
    assert built["performance_statistics"]["peak_hour"] == 7


def test_a_row_whose_creation_time_can_not_be_read_is_in_the_total_but_in_no_hour() -> None:
    built = sections.build_sections(facts(cell("completed", None, 5)))
    assert built["task_statistics"]["total_tasks"] == 5
    assert built["performance_statistics"]["peak_hour"] is None


def test_retries_are_told_in_rising_order_and_unknown_ones_do_not_dilute_the_share() -> None:
    cells = [
        cell("completed", 0, 1, 10),
        cell("completed", 0, 2, 2),
        cell("failed", 0, 3, 0),
        cell("failed", 1, 9, None),
    ]
    retries = sections.build_sections(facts(*cells))["error_statistics"]["retry_statistics"]
    assert list(retries["by_count"].items()) == [("0", 3), ("2", 2), ("10", 1), ("unknown", 9)]
    assert (retries["retried_tasks"], retries["retried_share"], retries["total_retries"]) == (3, 50.0, 14)
    assert retries["max_retries"] == 10
