"""Plot of unseen over seen accuracy at every gamma: AUSUC is the area under this curve."""

from pathlib import Path

from drmn.evaluation.calibration import Curve, OperatingPoint

PERCENT = 100.0


def draw_seen_unseen(curve: Curve, chosen: OperatingPoint, path: Path, title: str) -> None:
    """Draw the curve and the point on it that gamma was chosen at.

    Args:
        curve: Every reachable pair of accuracies.
        chosen: The outcome at the gamma of the rule.
        path: Path of the PNG.
        title: Title above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(7, 6.5), layout="constrained")
    axes = figure.add_subplot()
    seen, unseen = PERCENT * curve.seen, PERCENT * curve.unseen
    axes.fill_between(seen, unseen, step="pre", alpha=0.12)
    axes.plot(seen, unseen, drawstyle="steps-pre", label=f"AUSUC {PERCENT * curve.ausuc:.1f}")
    gamma = f"gamma {chosen.gamma:.3f}: H {PERCENT * chosen.harmonic:.1f}"
    axes.plot(PERCENT * chosen.seen, PERCENT * chosen.unseen, "o", markersize=9, label=gamma)
    axes.set(xlabel="S, seen classes, percent", ylabel="U, unseen classes, percent", title=title)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(loc="upper right")
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
