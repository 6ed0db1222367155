"""What all jobs share: the file of `--json`, and output in the terminal's encoding."""

import io
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import pytest
from in_process import run_job
from paths import ROOT

from drmn.cli import require_place, run
from drmn.encoding import print_in_any_encoding
from drmn.errors import ConfigError


def test_a_place_for_json_is_tried_before_the_work_and_left_as_it_is(tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text("old")
    require_place(kept)
    require_place(tmp_path / "new.json")
    assert kept.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".", "a folder; give a file, such as "),
        ("no/x.json", "no such folder to write into."),
        ("/proc/version", "give a file that may be written to."),
        ("a" * 300, "File name too long; give a file that may be written to."),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch, place, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^--json ") as raised:
        require_place(type(tmp_path)(place))
    assert words in str(raised.value)


@pytest.mark.parametrize("job", ["tune", "train", "prepare", "doctor"])
@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_is_printed_in_ascii_too(job, option):
    if job == "doctor" and option == "--help-all":
        option = "--help"
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, ROOT / "jobs" / f"{job}.py", option]
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_characters_that_an_encoding_lacks_are_similar_ones(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_in_any_encoding()
    sys.stdout.write("H 53.6 ± 3.3 … \N{GREEK SMALL LETTER GAMMA} → scale² × Müller \udcff 鳥")  # noqa: RUF001
    sys.stdout.flush()
    assert raw.getvalue() == b"H 53.6 +- 3.3 ... gamma -> scale2 x Muller ? ?"
    sys.stdout.detach()


LONG = "a" * 300


@pytest.mark.parametrize(
    ("job", "arguments", "words"),
    [
        ("tune", ("--dataset", "demo", "--study", LONG), "300 bytes long; give at most 200."),
        ("train", ("--dataset", "demo", "--run", LONG), "300 bytes long; give at most 220."),
        ("tune", ("--dataset", "demo", "--study", "x", "--space", f"{LONG}.py"), "name too long"),
        ("tune", ("--dataset", "demo", "--json", "."), "--json .: a folder; give a file"),
        ("train", ("--dataset", "demo", "--json", "."), "--json .: a folder; give a file"),
        ("tune", ("--list", "--json", "."), "--json .: a folder; give a file"),
        ("tune", ("--dataset", "demo", "--results", "s3://b/x"), "s3://b/x: no path of this mach"),
        ("prepare", ("--list", "--results", "s3://b/x"), "s3://b/x: no path of this machine; give"),
        ("report", ("--study", "x", "--json", "gs://b/x.json"), "gs://b/x.json: no path of this"),
        ("doctor", ("--json", "."), "--json .: a folder; give a file"),
        ("tune", ("--list", "--optim.lr", "3"), "--optim.lr 3: --list does not use it"),
        ("tune", ("--status", "--study", "x", "--plan"), "--plan: --status does not use it"),
        ("tune", ("--stop", "--study", "x", "--json", "x.json"), "x.json: --stop does not use it"),
        ("tune", ("--list", "--dataset", "demo"), "--dataset demo: --list does not use it"),
        (
            ("tune"),
            ("--list", "--status", "--study", "x", "--json", "x.json"),
            "one file for --list and --status; ask for one at a time",
        ),
        ("train", ("--status", "--run", "x", "--seed", "3"), "--seed 3: --status does not use it"),
        ("train", ("--stop", "--run", "x", "--json", "x.json"), "x.json: --stop does not use it"),
        ("prepare", ("--list", "--levels", "32"), "--levels 32: looking after stores, without"),
        ("doctor", ("--cluster", "c.yaml", "--results", "x"), "--results x: --cluster does not"),
        (
            "tune",
            ("--dataset", "cub", "--hdf5", "f.hdf5", "--backbone", "resnet50"),
            "--backbone resnet50: --hdf5 f.hdf5 does not use it",
        ),
        (
            "train",
            ("--dataset", "cub", "--hdf5", "f.hdf5", "--image-size", "64"),
            "--image-size 64: --hdf5 f.hdf5 does not use it",
        ),
        (
            "prepare",
            ("--dataset", "cub", "--hdf5", "f.hdf5", "--levels", "32"),
            "--levels 32: --hdf5 f.hdf5 does not use it",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_before_anything_is_made(
    tmp_path, job, arguments, words
):
    done = run_job(job, tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_nobody_foresaw_is_a_sentence_with_a_log(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("what nobody thought of")

    monkeypatch.setattr("drmn.report.look_after.look_after", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = run_job("tune", tmp_path, "--list")
    assert done.returncode == os.EX_SOFTWARE
    (log,) = tmp_path.glob("drmn-*.log")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: ZeroDivisionError: what nobody thought of; this was not foreseen: {log} has all"
    )
    assert "jobs/tune.py --list\n" in log.read_text()
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("before", "end"), [("trap '' HUP; ", 0), ("", 130)], ids=["nohup", "a lost terminal"]
)
def test_a_lost_terminal_ends_a_job_as_ctrl_c_does_unless_it_is_ignored(tmp_path, before, end):
    job = tmp_path / "job.py"
    job.write_text(
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from dataclasses import dataclass\n"
        "from drmn.cli import run\n"
        "@dataclass\n"
        "class Job:\n"
        "    pass\n"
        "run(lambda job: os.kill(os.getpid(), signal.SIGHUP), Job)\n"
    )
    command = ["sh", "-c", f"{before}exec {sys.executable} {job}"]
    mine = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        signal.signal(signal.SIGHUP, mine)
    assert done.returncode == end, done.stderr
    assert done.stderr == ("interrupted; the same command resumes it\n" if end else "")


CYCLE = """
import gc
from drmn.collector import collect_rarely, paused
with paused():
    assert not gc.isenabled()
assert gc.isenabled()
class Cycle:
    def __init__(self): self.me = self
    def __del__(self): print("collected")
Cycle()
"""


@pytest.mark.parametrize(("last", "said"), [("", "collected\n"), ("collect_rarely()", "")])
def test_a_process_that_collects_rarely_ends_without_a_search_for_cycles(last, said):
    command = [
        sys.executable,
        "-c",
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{CYCLE}{last}",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == said


@dataclass
class WaitingJob:
    """A job without settings."""


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_waiting_threads_of_a_job_soon_sleep_unless_its_user_wants_it_otherwise(
    monkeypatch, before, after
):
    monkeypatch.setattr(sys, "argv", ["job"])
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is as it was after the test
        monkeypatch.delenv(name)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    found = []
    run(lambda _: found.append(os.environ.get("GOMP_SPINCOUNT")), WaitingJob)
    assert found == [after]


def test_a_job_has_imported_no_torch_before_it_says_how_threads_wait():
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print('torch' in sys.modules)"
    for job in sorted((ROOT / "jobs").glob("*.py")):
        done = subprocess.run(
            [sys.executable, "-c", code, job], capture_output=True, text=True, check=True
        )
        assert done.stdout == "False\n", job
