"""What jobs/train.py prints: a line an epoch, and what the run came to."""

from rich.console import Console

from drmn.metric_names import Metrics
from drmn.report.terminal import figures_table, see_in_mlflow
from drmn.run.driver import Outcome, Plan


class Shown:
    """Prints each epoch.

    Args:
        console: Where to.
        epochs: How many there will be.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs

    def __call__(self, epoch: int, metrics: Metrics) -> None:
        """Print an epoch."""
        self.console.print(
            f"epoch {epoch} of {self.epochs}: loss {metrics['loss/total']:.3f}, "
            f"T1 {100 * metrics['val/T1']:.1f}, H {100 * metrics['val/H']:.1f} ± "
            f"{100 * metrics['val/H_se']:.1f}, {metrics['cost/images_per_second']:.0f} images/s",
            highlight=False,
        )


def summary(console: Console, plan: Plan, outcome: Outcome) -> None:
    """Print the figures of the best epoch beside the lines they must beat."""
    rows = {f"{plan.name}, epoch {outcome.best}": outcome.epochs[outcome.best]}
    console.print(figures_table(rows, outcome.lines))
    console.print(f"\nHistory and checkpoints: {plan.folder}", highlight=False, soft_wrap=True)
    see_in_mlflow(console, plan.tracking_uri, plan.dataset)
