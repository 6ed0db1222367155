"""What the spool is told of a search: live and from the record alone, the same, once."""

import shlex

from studies import IDENTITY, space, told

from drmn.config import RunConfig
from drmn.flags import flag
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.config import PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.read_only import ReadOnlyStudy
from drmn.search.trial_summary import ENDED, RUNS
from drmn.tracking.spool import Spool

ABOUT = StudyMetadata(
    experiment="toy",
    note="A note.",
    data="0123-fold1",
    profile={"training images": 10},
    lines=[{"name": "ESZSL", "metrics": {"val/H": 0.4}, "params": {"levels": "32"}}],
    code={"mlflow.source.git.commit": "abc"},
    options={"dataset": "toy", "data_root": "my data"},
)


def live(folder):
    """Search with a mlflow_logger that watches; return the record and the spool."""
    folder = folder / "toy"
    folder.mkdir()
    policy = PolicyConfig(sampler="random", first_rung=1, finetune=1)
    study = AskTellStudy(open_study(folder, IDENTITY), space, RunConfig(), policy)
    spool = Spool(folder / "spool.db")
    mlflow_logger = MlflowLogger(spool, folder, study.record)
    mlflow_logger.on_study_start(ABOUT)
    mlflow_logger.on_resume()
    for value in (0.5, 0.3, 0.7):
        watched(mlflow_logger, study, study.ask(), value)
    watched(mlflow_logger, study, study.ask_finetune(), 0.8)
    mlflow_logger.on_search_end("all was done")
    return study, spool


def watched(mlflow_logger, study, point, value):
    mlflow_logger.on_trial_start(point)
    for epoch in (1, 2, 3):
        metrics = told(value)
        stop = study.report(point.number, epoch, metrics)
        mlflow_logger.on_epoch_end(point.number, epoch, metrics)
        if stop:
            break
    mlflow_logger.on_trial_end(study.record.trial_summary(point.number))


def events(spool, kind):
    return [event for _, event in spool.waiting(10_000) if event["kind"] == kind]


def test_a_trial_that_trains_earlier_settings_again_stands_below_that_trial(tmp_path):
    study, spool = live(tmp_path)
    key = study.record.study.user_attrs["key"]
    parents = {event["name"]: event.get("parent") for event in events(spool, "run")}
    assert parents == {
        "toy": None,
        "ESZSL (baseline)": key,
        "toy/000": key,
        "toy/001": key,
        "toy/002": key,
        "toy/003 (again 002)": f"{key}/0002",
    }
    again = events(spool, "run")[-1]["tags"]
    assert (again["tier"], again["repeats"]) == ("finetuned", "toy/002")


def test_the_study_s_row_says_how_it_stands_after_each_trial(tmp_path):
    study, spool = live(tmp_path)
    key = study.record.study.user_attrs["key"]
    rows = [e for e in events(spool, "metrics") if e["run"] == key]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["metrics"]["best/H"] for row in rows] == [0.5, 0.5, 0.7, 0.8]
    assert rows[-1]["metrics"]["trials/complete"] == 3
    assert rows[-1]["metrics"]["trials/pruned"] == 1
    assert rows[-1]["metrics"]["spent/epochs"] == 10


def test_the_record_alone_tells_all_that_was_told_live_at_the_same_times(tmp_path):
    study, spool = live(tmp_path)
    before = [event for _, event in spool.waiting(10_000)]
    other = Spool(tmp_path / "other.db")
    mlflow_logger = MlflowLogger(other, tmp_path / "toy", ReadOnlyStudy(study.record.study))
    mlflow_logger.on_study_start(ABOUT)
    mlflow_logger.replay()
    mlflow_logger.on_search_end(study.record.study.user_attrs[ENDED])
    after = [event for _, event in other.waiting(10_000)]

    def fixed(told):
        """Return what is told with a time of its own, or none."""
        kept = [e for e in told if e["kind"] in ("run", "metrics", "data")]
        kept += [e for e in told if e["kind"] == "end" and "/" in e["run"]]
        return sorted(map(repr, kept))

    assert fixed(after) == fixed(before)
    assert len(fixed(after)) > 20


def test_telling_a_record_again_adds_nothing_to_a_spool_that_has_it(tmp_path):
    study, spool = live(tmp_path)
    before = len(events(spool, "metrics")) + len(events(spool, "run"))
    MlflowLogger(spool, tmp_path / "toy", study.record).replay()
    assert len(events(spool, "metrics")) + len(events(spool, "run")) == before


def test_a_trial_and_its_study_have_the_command_that_trains_it_again(tmp_path):
    study, spool = live(tmp_path)
    ends = {event["run"]: event for event in events(spool, "end")}
    key = study.record.study.user_attrs["key"]
    settings = study.record.trial_summary(1).settings
    end = ends[f"{key}/0001"]
    told = shlex.split(end["tags"]["command"])
    assert told[:8] == [
        *("python", "jobs/train.py", "--dataset", "toy", "--data-root", "my data"),
        *("--run", "toy-001"),
    ]
    named = zip(told[8::2], told[9::2], strict=True)
    assert dict(named) == {flag(name): str(value) for name, value in settings.items()}
    assert end["tags"]["state"] == "PRUNED"
    assert end["status"] == "FINISHED"
    best = study.record.best().number
    assert ends[key]["tags"]["command"] == ends[f"{key}/{best:04d}"]["tags"]["command"]


def test_run_ids_that_mlflow_gave_are_written_into_the_record(tmp_path):
    study, spool = live(tmp_path)
    spool.shipped([], {"toy": "1234"})
    MlflowLogger(spool, tmp_path / "toy", study.record).note_runs()
    assert study.record.study.user_attrs[RUNS] == {"toy": "1234"}
