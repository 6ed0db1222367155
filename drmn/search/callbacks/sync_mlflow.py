"""All of a study or run told to its spool anew, from the record: MLflow's database was lost."""

from pathlib import Path

from drmn.errors import StudyError
from drmn.run import mlflow_log
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.storage.studies import driver_of, load_study
from drmn.search.study.read_only import ReadOnlyStudy
from drmn.search.trial_summary import ENDED, METADATA
from drmn.tracking.spool import Spool, open_spool


def resend(folder: Path, storage: str = "") -> Spool:
    """Return the spool of a study or run, filled with all that is known of it.

    Args:
        folder: Of the study or run.
        storage: The PostgreSQL that holds the record, if one does.

    Raises:
        StudyError: There is none, or a driver is at work: what it tells would be forgotten.
    """
    folder = folder.absolute()
    whole = (folder / mlflow_log.RUN).is_file()
    if who := driver_of(folder, folder.name, "" if whole else storage):
        raise StudyError(f"{folder.name} is run by {who}: wait for its end, or stop it first.")
    study = None if whole else load_study(folder.parent, folder.name, storage)
    spool = open_spool(folder / "spool.db")
    spool.clear()
    if study is None:
        mlflow_log.refill(folder, spool)
        return spool
    if METADATA not in study.user_attrs:
        raise StudyError(f"{folder.name} has not begun: there is nothing to tell.")
    mlflow_logger = MlflowLogger(spool, folder.name, ReadOnlyStudy(study))
    mlflow_logger.on_study_start(StudyMetadata(**study.user_attrs[METADATA]))
    mlflow_logger.replay()
    mlflow_logger.files(folder)
    mlflow_logger.on_search_end(study.user_attrs.get(ENDED, ""))
    return spool
