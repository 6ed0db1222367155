"""Jobs that tests kill, and what must not depend on that."""

import json
import signal
import sqlite3
import sys
import time
from itertools import pairwise

import optuna
import psutil
import pytest
from in_process import run_job
from invariants import broken
from paths import ROOT

SPACE = ROOT / "tests" / "spaces" / "smoke.py"


TRIALS = 5
optuna.logging.set_verbosity(optuna.logging.ERROR)


def command(folder, demo, *more):
    return [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo", "--space", SPACE),
        *("--no-figures", "--budget.model-mb", "0"),
        *("--budget.trials", str(TRIALS), "--budget.at-once", "1", "--policy.pruner", "none"),
        *("--results", demo, "--study", folder.name, "--policy.sampler", "random"),
        *("--tracking-uri", f"sqlite:///{folder}/mlflow.db", "--json", folder / "out.json", *more),
    ]


def wait_for(happened, process, seconds=480, pause=0.1):
    for _ in range(int(seconds / pause)):
        if happened():
            return
        assert process.poll() is None, "the job ended before it could be killed"
        time.sleep(pause)
    pytest.fail("waited in vain")


def kill_tree(process):
    """End a driver at once, and the Ray processes that it started."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in children:
        if child.is_running():
            child.kill()


def finish(arguments, folder):
    """Run a search of `command` to its end; return what it wrote, once the invariants hold."""
    done = run_job("tune", folder, *arguments[2:], ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return ended(arguments, folder)


def ended(arguments, folder):
    """Return what a search that came to its end wrote, once the invariants hold."""
    plain = json.loads((folder / "out.json").read_text())
    given = dict(pairwise(arguments))
    study = given["--results"] / "studies" / given["--study"]
    store, url = given["--tracking-uri"], given.get("--storage", "")
    found = broken(study, plain, store, url)
    assert not found, "\n".join(found)
    return plain


def epochs_of(record, number):
    """Return how many epochs a trial has in a record that a driver is writing."""
    query = (
        "SELECT count(*) FROM trial_intermediate_values JOIN trials USING (trial_id)"
        " WHERE number = ?"
    )
    try:
        database = sqlite3.connect(f"file:{record}?mode=ro", uri=True)
        return database.execute(query, (number,)).fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


FINISHED = {
    *("lock", "provenance", "receipt.json", "record.db", "trials"),
    *("spool.db", "spool.lock", "spool.log"),
    *("best.pt", "package", ".package.made"),
    *("attention.png", ".attention.png.made", "seen-unseen.png", ".seen-unseen.png.made"),
}
"""Names of all that a finished search without figures keeps."""


def kept(study):
    """Return the names in a study's folder, and in the folders of its trials."""
    found = {path.name for path in (*study.iterdir(), *study.glob("trials/*/*"))}
    # SQLite has these beside a file that is open, in this process too.
    return {name for name in found if not name.endswith(("-wal", "-shm"))}


def outcome(plain):
    """Return what must not depend on being killed."""
    return [
        (t["number"], t["state"], t["epochs"], t["value"], t["params"]) for t in plain["trials"]
    ]
