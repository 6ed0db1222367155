"""Names in a study's folder that modules without torch need too."""

from pathlib import Path

TRIALS = "trials"
"""Folder of the trials' folders."""
REPORT = Path("final/report.html")
"""The report of a finalized search."""
STACKS = "stacks-*.txt"
"""Files of a trial's folder with the stacks of processes that were found hanging."""
