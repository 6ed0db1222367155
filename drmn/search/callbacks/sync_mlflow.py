"""Re-sync of MLflow from the record of a study or run: MLflow's database was lost."""

from pathlib import Path

from drmn.errors import StudyError
from drmn.search.callbacks.mlflow_run_logger import logger_of
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.storage.studies import driver_of, load_study
from drmn.search.study.read_only import ReadOnlyStudy
from drmn.search.trial_summary import ENDED, METADATA
from drmn.tracking.spool import Spool, open_spool


def resend(folder: Path, storage: str = "") -> Spool:
    """Return the spool of a study or run, filled with all that its record holds.

    Args:
        folder: Folder of the study or run.
        storage: The PostgreSQL that holds the record, if one does.

    Raises:
        StudyError: There is none, or a driver runs it: events that it logs would be lost.
    """
    folder = folder.absolute()
    if who := driver_of(folder, storage):
        raise StudyError(f"{folder.name} is run by {who}: wait for its end, or stop it first.")
    study = load_study(folder.parent, folder.name, storage)
    if METADATA not in study.user_attrs:
        raise StudyError(f"{folder.name} has not started: there is nothing to send.")
    spool = open_spool(folder / "spool.db")
    spool.clear()
    logger = logger_of(spool, folder, ReadOnlyStudy(study))
    logger.on_study_start(StudyMetadata(**study.user_attrs[METADATA]))
    logger.replay()
    logger.files()
    logger.on_search_end(study.user_attrs.get(ENDED, ""))
    return spool
