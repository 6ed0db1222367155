"""A record read without Optuna's storage: the same study, and nothing written."""

import math
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from drmn.errors import StudyError
from drmn.search.storage.names import RECORD
from drmn.search.storage.snapshot import snapshot
from drmn.search.storage.sqlite import SqliteStorage
from drmn.search.storage.studies import load_study, read_study

PARAMS = {
    "lr": (0.1 + 0.2, FloatDistribution(1e-4, 1.0, log=True)),
    "layers": (3, IntDistribution(1, 5)),
    "views": (False, CategoricalDistribution([True, False])),
    "nothing": (None, CategoricalDistribution(["none", None, 16, 0.5])),
}


def made(folder):
    """A record with a trial of each state, and values of each kind."""
    folder.mkdir(parents=True)
    storage = SqliteStorage().connect(folder)
    study = optuna.create_study(storage=storage, study_name=folder.name, direction="maximize")
    study.set_user_attr("identity", {"base.optim.lr": 0.001, "größe": [1, None]})
    optuna.create_study(storage=storage, study_name="another", direction="minimize").ask()
    study.ask()  # without parameters
    for state, value in (
        (TrialState.COMPLETE, math.inf),
        (TrialState.PRUNED, -math.inf),
        (TrialState.FAIL, None),
        (TrialState.RUNNING, None),
        (TrialState.WAITING, None),
        (TrialState.COMPLETE, 0.1 + 0.2),
    ):
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params={name: value for name, (value, _) in PARAMS.items()},
                distributions={name: kind for name, (_, kind) in PARAMS.items()},
                user_attrs={"epoch/3": {"val/H": math.nan}, "cause": "Ünicode"},
                system_attrs={"constraints": [0.5]},
                intermediate_values={3: math.nan, 1: math.inf, 2: 1 / 3, 10: -math.inf},
            )
        )
    storage.engine.dispose()
    return folder


def plain(study):
    """All that Optuna knows of a study, but for the ids of its trials, which no one goes by."""

    def part(name, value):
        ordered = isinstance(value, dict) and name != "params"
        return name, sorted(value.items(), key=str) if ordered else value

    trials = [[part(k, v) for k, v in vars(t).items() if k != "_trial_id"] for t in study.trials]
    return repr((trials, study.study_name, study.directions, sorted(study.user_attrs.items())))


def test_it_is_what_optuna_reads(tmp_path):
    folder = made(tmp_path / "toy")
    read, loaded = read_study(tmp_path, "toy"), load_study(tmp_path, "toy")
    assert plain(read) == plain(loaded)
    assert len(read.trials) == 7
    assert isinstance(read._storage, optuna.storages.InMemoryStorage)
    assert snapshot(folder / RECORD, "another").trials[0].state is TrialState.RUNNING
    assert snapshot(folder / RECORD, "nobody") is None


def test_nothing_is_written(tmp_path):
    record = made(tmp_path / "toy") / RECORD
    before = record.read_bytes(), record.stat().st_mtime_ns
    read_study(tmp_path, "toy")
    assert (record.read_bytes(), record.stat().st_mtime_ns) == before


def test_a_record_on_a_disk_that_cannot_be_written_to_is_read(tmp_path):
    made(tmp_path / "toy")
    code = (
        "import sys; from pathlib import Path; from drmn.search.storage.studies import read_study;"
        "print(len(read_study(Path(sys.argv[1]), 'toy').trials))"
    )
    mounted = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}"
    script = f"{mounted} && {sys.executable} -c '{code.replace(chr(39), chr(34))}' {tmp_path}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_tables_of_another_version_are_left_to_optuna(tmp_path):
    record = made(tmp_path / "toy") / RECORD
    with closing(sqlite3.connect(record)) as database, database:
        database.execute("UPDATE version_info SET schema_version = 13")
    assert snapshot(record, "toy") is None
    assert plain(read_study(tmp_path, "toy")) == plain(load_study(tmp_path, "toy"))


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(84)])
def test_what_is_no_record_is_one_sentence(tmp_path, content):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / RECORD).write_bytes(content)
    with pytest.raises(StudyError, match=r"record\.db: not a readable record"):
        read_study(tmp_path, "toy")


def test_damage_is_one_sentence_or_harmless(tmp_path):
    record = made(tmp_path / "toy") / RECORD
    whole, chance, refused = record.read_bytes(), np.random.default_rng(0), 0
    for count in 70 * (1, 10, 100):
        damaged = bytearray(whole)
        for place in chance.integers(len(damaged), size=count):
            damaged[place] = chance.integers(256)
        record.write_bytes(damaged)
        try:
            read_study(tmp_path, "toy")
        except StudyError as problem:
            assert "not a readable record" in str(problem)  # noqa: PT017 - most are readable
            refused += 1
    assert 0 < refused < 210
