"""The record in PostgreSQL, on a real server: one writer, resumed, listed; errors in a sentence."""

import io
import re
import signal
import socket
import subprocess
import sys

import optuna
import pytest
from paths import ROOT
from rich.console import Console
from studies import IDENTITY, finish, locked, open_toy, space

from drmn.config import RunConfig
from drmn.errors import ConfigError, StudyError, UserError
from drmn.report import studies
from drmn.search.config import PolicyConfig
from drmn.search.storage import postgres as place
from drmn.search.storage.studies import load_study, open_study, study_names
from drmn.search.study import warm_start
from drmn.search.study.ask_tell import AskTellStudy

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from studies import finish, locked, metrics, open_toy
with locked(sys.argv[1], "toy") as storage:
    study = open_toy(Path(sys.argv[2], "toy"), storage=storage, pruner="none")
    finish(study, [0.3, 0.5, 0.4])
    study.report(study.ask().number, 1, metrics(0.7))
    print("second trial is at epoch 1", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def url(postgres):
    return postgres.database()


@pytest.fixture
def driver(url, tmp_path):
    """Return a process that holds study `toy`: a trial is complete, another at its first epoch."""
    command = [sys.executable, "-c", CHILD, url, tmp_path, ROOT / "tests"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "second trial is at epoch 1\n"
        yield process
        process.kill()


def kill(driver):
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def test_a_study_goes_on_after_its_driver_was_killed(driver, url, tmp_path):
    kill(driver)
    with locked(url, "toy") as storage:
        study = open_toy(tmp_path / "toy", storage=storage, pruner="none")
        assert [(row.number, row.state, row.epochs) for row in study.record.trial_summaries()] == [
            (0, "COMPLETE", 3),
            (1, "RUNNING", 1),
        ]
        assert study.record.trial_summaries()[0].value == 0.5
        assert study.record.interrupted == [1]
        assert finish(study, [0.7, 0.6, 0.8]).number == 1
        assert study.record.best().number == 1
    assert not list(tmp_path.glob("*.db"))


def test_a_second_driver_is_told_who_holds_the_study(driver, url):
    who = f"process {driver.pid} on {socket.gethostname()}"
    with (
        pytest.raises(StudyError, match=re.escape(f"is being run by {who}; wait for it, or use")),
        locked(url, "toy"),
    ):
        pass
    with locked(url, "other"):  # other studies are free
        pass
    kill(driver)
    with locked(url, "toy"):  # the server let go when the holder died
        pass


def test_a_driver_that_lost_the_study_writes_no_more(postgres, url, tmp_path):
    with locked(url, "toy") as storage:
        study = open_toy(tmp_path / "toy", storage=storage, pruner="none")
        finish(study, [0.3, 0.5, 0.4])
        database = storage.url.database
        postgres.query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'", database
        )
        with locked(url, "toy") as other:
            for _ in range(2):
                with pytest.raises(StudyError, match="that holds study toy is lost; the same"):
                    study.ask()
            assert open_toy(tmp_path / "toy", storage=other).record.count == 1


def test_a_server_that_ends_is_one_sentence(postgres, url, tmp_path):
    with locked(url, "toy") as storage:
        study = open_toy(tmp_path / "toy", storage=storage, pruner="none")
        postgres.stop()
        with pytest.raises(StudyError, match="study toy is lost; the same command resumes it"):
            study.ask()
        postgres.start()
    with locked(url, "toy") as storage:
        assert open_toy(tmp_path / "toy", storage=storage, pruner="none").ask().number == 0


def test_changed_settings_are_refused_and_the_record_is_as_it_was(driver, url, tmp_path):
    kill(driver)
    changed = IDENTITY | {"base.optim.lr": 0.1}
    with (
        pytest.raises(StudyError, match=r"--optim\.lr was 0\.001, now 0\.1"),
        locked(url, "toy") as storage,
    ):
        open_study(tmp_path / "toy", changed, storage)
    assert len(load_study(tmp_path, "toy", url).trials) == 2


def test_forks_and_warm_starts_find_their_study_in_the_database(driver, url, tmp_path):
    kill(driver)
    with locked(url, "child") as storage:
        study = open_study(tmp_path / "child", IDENTITY, storage)
        warm_start.inherit(study, tmp_path, fork="toy", warm_start="toy", url=url)
        study = AskTellStudy(study, space, RunConfig(), PolicyConfig(sampler="random"))
        assert [trial.value for trial in study.searcher.inherited] == [0.5]
        assert study.searcher.first == [{"optim.lr": RunConfig().optim.lr}]
    missing = r"There is no study 'sun' in postgresql://drmn@.*; there are: child, toy"
    with pytest.raises(StudyError, match=missing):
        load_study(tmp_path, "sun", url)


def printed(show, *arguments):
    console = Console(file=io.StringIO(), width=200)
    show(console, *arguments)
    return console.file.getvalue()


def test_the_studies_of_a_database_are_listed_with_who_runs_them(driver, url, tmp_path):
    who = f"process {driver.pid} on {socket.gethostname()}"
    (row,) = printed(studies.show, tmp_path, url).splitlines()[1:]
    assert row.split()[:3] == ["toy", "2", "50.0"]
    assert row.rstrip().endswith(who)
    shown = printed(studies.status, tmp_path, "toy", url)
    assert "study toy: trials: 1 complete, 1 running; best 50.0 (trial 0)\n" in shown
    assert f"driver: {who}\n" in shown
    with pytest.raises(StudyError, match=f"Study toy is run by {who}; stop it there"):
        studies.stop(Console(), tmp_path, "toy", url)
    kill(driver)
    assert "trial 1: at epoch 1; resumes with the next start" in printed(
        studies.status, tmp_path, "toy", url
    )


def test_what_others_keep_in_the_database_is_no_study_of_ours(url, tmp_path):
    optuna.create_study(study_name="theirs", storage=place.parse_url(url).render_as_string())
    assert study_names(tmp_path, url) == []


LIST = """
import sys
from pathlib import Path
from drmn.search.storage.studies import study_names
print(study_names(Path(), sys.argv[1]))
"""


def test_several_may_look_into_an_empty_database_at_a_time(url):
    command = [sys.executable, "-c", LIST, url]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [each.communicate()[0] for each in several] == ["[]\n"] * 4


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            "results",
            "must be postgresql://user@host/database; got no URL. The folder of results is",
        ),
        ("mysql://me:secret@host/d", "got mysql://."),
        ("postgresql://me@host:port/d", "got a URL that is not whole."),
        ("postgresql://me@host", "got no database."),
        ("postgresql://me:secret@host/d", "--storage holds a password"),
        ("postgresql://me@host/d?password=secret", "put it into ~/.pgpass or PGPASSWORD."),
    ],
)
def test_what_is_no_database_is_refused_and_no_password_repeated(storage, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        place.parse_url(storage)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r":\d+/", ":1/", "Connection refused; see that the server is there"),
        (r"/d\d+$", "/nowhere", "does not exist; createdb makes it."),
        ("drmn@", "stranger@", "put the right one into ~/.pgpass or PGPASSWORD."),
    ],
)
def test_a_database_that_cannot_be_had_is_one_sentence(url, old, new, message):
    with pytest.raises(StudyError, match=re.escape(message)) as refused:
        place.check_connection(re.sub(old, new, url))
    assert "\n" not in str(refused.value)


def test_a_wrong_password_is_one_sentence_without_it(url, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "guessed wrong")
    with pytest.raises(StudyError, match="password authentication failed for user") as refused:
        place.check_connection(url)
    assert "guessed" not in str(refused.value)


def test_a_driver_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UserError, match=r"psycopg2.*; pip install -e '\.\[postgres\]' installs"):
        place.check_connection("postgresql://me@127.0.0.1/d")
