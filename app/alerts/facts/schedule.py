"""What `app.schedule.limits` finds broken: `{"facts": [...]}`; what is not listed is well."""

from typing import Any

from app.alerts.facts.fact import Document, Fact, Source, count, label, number


def _missed(document: Document) -> list[Fact]:
    return [_of_job(fact, count(fact["count"]), "slot") for fact in _broken(document, "ScheduleMissed")]


def _run_too_long(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooLong")
    return [_of_job(fact, _percent(fact, "seconds", "allowed_s"), "seconds", "allowed_s") for fact in found]


def _run_too_short(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooShort")
    return [_of_job(fact, _percent(fact, "seconds", "minimum_s"), "seconds", "minimum_s") for fact in found]


def _run_too_often(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooOften")
    return [_of_job(fact, _percent(fact, "runs", "expected"), "runs", "expected") for fact in found]


def _beat_down(document: Document) -> list[Fact]:
    found = _broken(document, "BeatDown")
    return [Fact(value=number(fact["seconds"]), words={"since": fact["since"]}) for fact in found]


def _broken(document: Document, name: str) -> list[Any]:
    return [fact for fact in document["facts"] if fact["fact"] == name]


def _of_job(fact: Document, value: float, *words: str) -> Fact:
    shown = {word: fact[word] for word in ("job", *words)}
    return Fact(value=value, labels={"job": label(fact["job"])}, words=shown)


def _percent(fact: Document, part: str, whole: str) -> float:
    return round(100 * number(fact[part]) / number(fact[whole]), 1)


_JOB = frozenset({"job"})

SOURCES = {
    "schedule.missed": Source(
        read=_missed,
        tells="slots of a job missed within a day",
        unit="slots",
        absent="ok",
        labels=_JOB,
        words=_JOB | {"slot"},
    ),
    "schedule.run_too_long": Source(
        read=_run_too_long,
        tells="percent of what a job's run may take",
        unit="%",
        absent="ok",
        labels=_JOB,
        words=_JOB | {"seconds", "allowed_s"},
    ),
    "schedule.run_too_short": Source(
        read=_run_too_short,
        tells="percent of a job's minimum duration",
        unit="%",
        absent="ok",
        labels=_JOB,
        words=_JOB | {"seconds", "minimum_s"},
    ),
    "schedule.run_too_often": Source(
        read=_run_too_often,
        tells="percent of a job's expected runs of a day",
        unit="%",
        absent="ok",
        labels=_JOB,
        words=_JOB | {"runs", "expected"},
    ),
    "schedule.beat_down": Source(
        read=_beat_down,
        tells="seconds without a leading beat",
        unit="s",
        kind="seconds",
        absent="ok",
        words=frozenset({"since"}),
    ),
}
