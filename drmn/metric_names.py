"""Names of metrics, and functions on metrics by name."""

from collections.abc import Mapping

Metrics = Mapping[str, float]
"""Metrics of an epoch by name: `val/H`, `loss/total`, `cost/worker_seconds`."""
COST = "cost/worker_seconds"
"""Seconds of an epoch, its validation included, summed over its workers."""
AT = "cost/at"
"""Among an epoch's metrics: when it was recorded, in seconds since 1970."""
BUSY = ("cost/", "system/")
"""Prefixes of metrics that depend on how busy a machine was."""
SHOWN = ("T1", "U", "S", "H", "AUSUC", "gamma")


def without_costs(metrics: Metrics) -> Metrics:
    """Return the metrics that do not depend on how busy the machine was."""
    return {name: value for name, value in metrics.items() if not name.startswith(BUSY)}


def figures(metrics: Metrics) -> dict[str, float]:
    """Return the figures of a model on validation, with H's standard error."""
    names = (*SHOWN, "H_se", "H_optimal", "beta", "delta")
    return {name: metrics[f"val/{name}"] for name in names}


def best_of(metrics: Metrics) -> dict[str, float]:
    """Return the validation figures of a best epoch, renamed from `val/` to `best/`.

    MLflow's table shows the last value of a metric, which is the last epoch's and not the best's.
    """
    return {
        name.replace("val/", "best/"): value
        for name, value in metrics.items()
        if name.startswith("val/")
    }
