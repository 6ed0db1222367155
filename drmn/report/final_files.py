"""Names of the files that a finalize writes."""

from drmn.experiment.study_layout import REPORT

PAGE = REPORT.name
RESULT, SCRIPT = "result.json", "repro.sh"
ABLATION = ("ablation.md", "ablation.tex")
PAPER = (RESULT, "table.md", "table.tex", SCRIPT)
"""Files beside the page."""
