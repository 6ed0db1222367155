"""Where the real photos are, on which benchmarks measure: $DRMN_SHARED, or beside the checkout."""

import os
import sys
from pathlib import Path

SHARED = Path(os.environ.get("DRMN_SHARED", Path(__file__).parents[2] / "shared" / "data"))


def real_data(name: str) -> Path:
    """Return the folder of a dataset; ends the benchmark with a sentence where it is not there."""
    folder = (SHARED / name).absolute()
    if not folder.is_dir():
        sys.exit(f"error: no {folder}: set DRMN_SHARED to the folder of the real data")
    return folder
