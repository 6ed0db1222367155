"""A trial's states belong to it: what another trial, study or setting saved is not resumed."""

import pytest

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.experiment.trial_task import TrialTask
from drmn.fields import flatten
from drmn.search.storage.studies import open_study, set_aside

RUN = RunConfig(model=ModelConfig(sit="none"), optim=OptimConfig(epochs=3, batch_size=16, lr=1e-3))


def task(tmp_path, toy_store, **other):
    settings = {**flatten(RUN), **other.pop("settings", {})}
    given = {"store": str(toy_store), "objective": "val/H", "study": "s-1", **other}
    return TrialTask(settings=settings, folder=str(trial_folder(tmp_path, 0)), **given)


def begun(tmp_path, toy_store):
    """Train the first of three epochs, as a process that dies then; return its result."""
    epochs = task(tmp_path, toy_store).epochs("cpu", lambda: False)
    first = next(epochs)
    epochs.close()
    return first


def test_the_same_trial_resumes_where_it_was(tmp_path, toy_store):
    first = begun(tmp_path, toy_store)
    again = task(tmp_path, toy_store, settings={"compute.attention": "plain"})  # no other result
    assert next(again.epochs("cpu", lambda: False)) == first


@pytest.mark.long
@pytest.mark.parametrize(
    "other",
    [
        {"settings": {"optim.lr": 1e-2}},
        {"settings": {"seed": 1}},
        {"study": "s-2"},
        {"objective": "val/T1"},
    ],
)
def test_the_state_of_another_is_put_aside_and_training_starts_anew(
    tmp_path, toy_store, other, capfd
):
    begun(tmp_path, toy_store)
    results = list(task(tmp_path, toy_store, **other).epochs("cpu", lambda: False))
    assert [result["epoch"] for result in results] == [1, 2, 3]
    fresh = list(task(tmp_path / "fresh", toy_store, **other).epochs("cpu", lambda: False))
    for one, two in zip(results, fresh, strict=True):
        assert one["metrics"]["val/H"] == two["metrics"]["val/H"]
        assert one["metrics"]["loss/total"] == two["metrics"]["loss/total"]
    assert (trial_folder(tmp_path, 0) / "last.other").is_file()
    assert "last.pt: the state of another trial, study or data; put aside" in capfd.readouterr().err


def test_a_new_record_sets_the_folders_of_old_trials_aside(tmp_path):
    said = []
    (tmp_path / "s").mkdir()
    study = open_study(tmp_path / "s", {"data": "x"}, say=said.append)
    assert said == []
    trial_folder(tmp_path / "s", 0).mkdir(parents=True)
    assert open_study(tmp_path / "s", {"data": "x"}, say=said.append).user_attrs == study.user_attrs
    assert said == []  # the record is theirs
    (tmp_path / "s" / "record.db").unlink()
    open_study(tmp_path / "s", {"data": "x"}, say=said.append)
    (note,) = said
    assert f"{tmp_path / 's' / 'trials'} has checkpoints of trials that this record does" in note
    assert note.endswith(f"they were moved to {tmp_path / 's' / 'trials.old-1'}.")
    assert (tmp_path / "s" / "trials.old-1" / "0000").is_dir()
    trial_folder(tmp_path / "s", 3).mkdir(parents=True)
    open_study(tmp_path / "s", {"data": "y"}, say=said.append)  # settings that differ
    assert len(said) == 2
    assert (tmp_path / "s" / "trials.old-2" / "0003").is_dir()
    assert set_aside(tmp_path / "s") is None
