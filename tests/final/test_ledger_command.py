"""The command that looks at the ledger, as a person runs it."""

import subprocess
import sys

import pytest

from drmn.data.sealed.ledger import append


@pytest.fixture
def results(tmp_path):
    """A cub opened once, then once more; a purpose that pretends to be an entry."""
    folder = tmp_path / "sealed" / "cub-d-s"
    folder.mkdir(parents=True)
    for purpose in ("final figures", "a typo\n3  forged"):
        append(
            folder.parent,
            folder,
            dataset="cub",
            sealed="0123456789abcdef",
            split="fedcba9876543210",
            study="birds",
            purpose=purpose,
            again=True,
        )
    return tmp_path


def run(action, results):
    command = [sys.executable, "-m", "drmn.final", "ledger", action, "--results", results]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_whole_ledger_is_said_to_be_unbroken(results):
    done = run("verify", results)
    assert (done.returncode, done.stdout) == (0, "ledger: 2 openings, unbroken\n")


def test_a_line_an_opening_is_shown(results):
    done = run("show", results)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.startswith("1  20")
    assert 'cub 0123456789abcdef  study birds: "final figures"  [' in first
    assert second.startswith("2  20")
    assert r'study birds, again: "a typo\n3  forged"  [' in second


@pytest.mark.parametrize("action", ["verify", "show"])
def test_a_ledger_that_was_tampered_with_is_one_sentence_and_exit_2(results, action):
    path = results / "sealed" / "ledger.jsonl"
    path.write_text(path.read_text().replace("birds", "fishes", 1))
    done = run(action, results)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {path}: entry 1 was altered: its hash is of another content; put a copy of the "
        "ledger back, until then no test split can be opened.\n"
    )


def test_results_without_sealed_test_splits_is_named(tmp_path):
    done = run("verify", tmp_path)
    message = f"error: --results {tmp_path}: no sealed/ in it; jobs/prepare.py makes it.\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_before_any_opening_the_ledger_is_empty(tmp_path):
    (tmp_path / "sealed").mkdir()
    assert run("verify", tmp_path).stdout == "ledger: 0 openings, unbroken\n"
    assert run("show", tmp_path).stdout == "ledger: nothing was opened yet\n"
