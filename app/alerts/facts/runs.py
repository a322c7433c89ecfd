"""How the runs of a day ended: `{"jobs": [{"job": ..., "succeeded": ..., "failed": ...}]}`; of skipped ones nothing."""

from app.alerts.facts.fact import Document, Fact, Source, count, label


def _success(document: Document) -> list[Fact]:
    return [
        Fact(
            value=round(100 * count(one["succeeded"]) / ended, 2),
            samples=ended,
            labels={"job": label(one["job"])},
            words={"job": one["job"], "failed": one["failed"]},
        )
        for one in document["jobs"]
        if (ended := count(one["succeeded"]) + count(one["failed"]))
    ]


SOURCES = {
    "runs.success_percent": Source(
        read=_success,
        tells="percent of a job's runs of the last day that succeeded",
        unit="%",
        kind="rate",
        # Nothing of a job that has not run for a day is failing.
        absent="ok",
        labels=frozenset({"job"}),
        words=frozenset({"job", "failed"}),
    )
}
