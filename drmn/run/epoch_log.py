"""The epochs of a run, a line each: written by Ray's controller, read by whoever shows them."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from drmn.metric_names import AT, Metrics

HISTORY = "history.jsonl"


class History:
    """A file of epochs. One that was cut off in the middle of a line lacks that line alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, epoch: int, metrics: Metrics) -> None:
        """Write down an epoch; it is on the disk when this returns."""
        with self.path.open("ab+") as file:
            if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            file.write(json.dumps({"epoch": epoch, AT: time.time(), **metrics}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def epochs(self) -> Mapping[int, Metrics]:
        """Return the metrics of each epoch; one that was trained twice, as it was last."""
        found: dict[int, Metrics] = {}
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                continue
            found[row.pop("epoch")] = row
        return dict(sorted(found.items()))
