"""A line an epoch on the terminal, for a run at fixed settings."""

from collections.abc import Mapping

from rich.console import Console

from drmn.metric_names import Metrics
from drmn.search.callbacks.base import Callback


class EpochLines(Callback):
    """Prints each epoch once, those of earlier starts included.

    Args:
        console: Where to print.
        epochs: How many there will be.
        known: Epochs that the record holds.
    """

    def __init__(self, console: Console, epochs: int, known: Mapping[int, Metrics]) -> None:
        self.console, self.epochs, self.printed = console, epochs, 0
        for epoch, metrics in sorted(known.items()):
            self.on_epoch_end(0, epoch, metrics)

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Print an epoch; a resumed trial reports its last one again."""
        del number
        if epoch <= self.printed:
            return
        self.printed = epoch
        self.console.print(
            f"epoch {epoch} of {self.epochs}: loss {metrics['loss/total']:.3f}, "
            f"T1 {100 * metrics['val/T1']:.1f}, H {100 * metrics['val/H']:.1f} ± "
            f"{100 * metrics['val/H_se']:.1f}, {metrics['cost/images_per_second']:.0f} images/s",
            highlight=False,
        )
