"""The labels by which silences, groups and inhibition know an alert."""

from app.alerts.life.instance import Instance

OWN = ("alertname", "severity", "type", "rule")
"""Names that every alert has besides its own labels; a label of one of these names is hidden by it."""


def labels_of(instance: Instance) -> dict[str, str]:
    """Return an alert's labels and, beside them, its alertname, severity, type and rule."""
    own = (instance.alertname, instance.level, instance.type, instance.rule)
    return {**instance.labels, **dict(zip(OWN, own, strict=True))}
