"""Arguments of `jobs/train.py` from what `--from` names: a study, a file or a run of MLflow."""

import json
import re
import shlex
from pathlib import Path

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.experiment.train_command import arguments, run_name
from drmn.fields import with_overrides
from drmn.search.storage.studies import load_study, study_names
from drmn.search.trial_summary import METADATA, best_trial, summarize_all

RUN_ID = re.compile("[0-9a-f]{32}")
"""Id of a run of MLflow."""


def source_arguments(source: str, results: Path, storage: str, tracking_uri: str) -> list[str]:
    """Return the arguments that train what `source` names again.

    Args:
        source: STUDY or STUDY/TRIAL, a JSON file of settings (as `--json` writes it), or the id of
            a run of MLflow.
        results: Folder of results.
        storage: PostgreSQL that holds the studies; empty if the folder does.
        tracking_uri: URI of MLflow's store.

    Raises:
        UserError: There is no such study, trial, file or run, or it has no settings.
    """
    if source.endswith(".json"):
        return _of_file(source)
    if RUN_ID.fullmatch(source) and source not in study_names(results / "studies", storage):
        # MLflow takes seconds to import.
        from drmn.tracking.logged_command import logged_command  # noqa: PLC0415

        return shlex.split(logged_command(tracking_uri, source))[2:]
    return _of_study(source, results / "studies", storage)


def _of_study(source: str, studies: Path, storage: str) -> list[str]:
    name, slash, number = source.partition("/")
    study = load_study(studies, name, storage)
    rows = {str(row.number): row for row in summarize_all(study)}
    row = rows.get(number.lstrip("0") or "0") if slash else best_trial(rows.values())
    if row is None:
        what = f"trial {number}" if slash else "trial that was completed or pruned"
        raise ConfigError(
            f"--from {source}: study {name} has no {what}; trials: {', '.join(rows) or 'none'}."
        )
    options = study.user_attrs.get(METADATA, {}).get("options", {})
    return arguments({**options, "run": run_name(name, row.number)}, row.settings)


def _of_file(source: str) -> list[str]:
    try:
        content = json.loads(Path(source).read_text())
        settings = content.get("settings", content)
        with_overrides(RunConfig(), settings)
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise ConfigError(
            f"--from {source}: {problem}; give what --json wrote, or JSON of settings such as "
            '{"optim.lr": 0.001}.'
        ) from None
    study, options = content.get("study"), content.get("options", {})
    named = {} if study is None else {"run": run_name(study, content["best"]["trial"])}
    return arguments({**options, **named}, settings)
