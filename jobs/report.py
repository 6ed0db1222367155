"""Draw the page of a study: plots, best trials and failures; of a finalized one, find its report.

python jobs/report.py --study cub
"""

from dataclasses import dataclass
from pathlib import Path

from drmn.cli import require_place, run, write_json
from drmn.errors import ConfigError
from drmn.experiment.config import require_name


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportJob:
    """Draw the page of a study, and find the report of a finalized one."""

    study: str = ""
    """Name of the study, which may be running."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    storage: str = ""
    """PostgreSQL that holds the record, as for the search."""
    json: Path | None = None
    """Write the paths as JSON into this file."""


def main(job: ReportJob) -> None:
    """Draw the page, and print where it is and what is next."""
    if not job.study:
        raise ConfigError("--study is missing: which study. jobs/tune.py --list shows them.")
    require_name("study", job.study)
    require_place(job.json)

    from rich.console import Console

    from drmn.report.figures import draw_study
    from drmn.report.final_files import PAGE, PAPER
    from drmn.report.say import say
    from drmn.search.storage.studies import load_study

    console, folder = Console(), job.results / "studies" / job.study
    study = load_study(folder.parent, job.study, job.storage)
    if "policy.objective" not in study.user_attrs.get("identity", {}):
        raise ConfigError(f"--study {job.study}: not a search; give the name of one.")
    made = {"study": str(draw_study(study, folder))}
    say(console, f"Study: {made['study']}")
    if (final := folder / "final" / PAGE).is_file():
        made |= {"report": str(final)}
        say(console, f"Report: {final}")
        say(
            console, f"Beside it: {', '.join(PAPER)}, and the model in {folder / 'final' / 'model'}"
        )
    else:
        say(console, f"Not finalized yet: python jobs/finalize.py --study {job.study}")
    write_json(job.json, made)


if __name__ == "__main__":
    run(main, ReportJob)
