"""Names of the files that a finalize writes."""

from drmn.experiment.study_layout import REPORT

PAGE = REPORT.name
RESULT, SCRIPT, ABLATION = "result.json", "repro.sh", "ablation.md"
PAPER = (RESULT, "table.md", "table.tex", SCRIPT)
"""Files beside the page."""
