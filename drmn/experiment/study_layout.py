"""Names in a study's folder that modules without torch need too."""

from pathlib import Path

TRIALS = "trials"
"""Folder of the trials' folders."""
REPORT = Path("final/report.html")
"""The report of a finalized search."""
HEARTBEATS, STACKS = "heartbeat-*.json", "stacks-*.txt"
"""Files of a trial's folder: of processes that train it now, and with the stacks of those that were
found hanging."""
ROOM = ".room"
"""File that is written to see whether the disk has space."""
RAY = "ray"
"""Folder of Ray's own files, while a search runs."""
