"""From a search to a tested model, as a person runs it: resumed, reported, and opened once."""

import json
import re
import sqlite3
import subprocess
from contextlib import closing

import pytest
from in_process import run_job
from searches import search

from drmn.data.sealed import ledger

pytestmark = pytest.mark.long  # a search, its confirmation and refit on the demo

SMALL = ("--confirm.candidates", "2", "--confirm.blocks", "2", "--refit.seeds", "2")


def command(results, *more):
    return ("--study", "s", "--results", results, *SMALL, "--json", "final.json", *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("finalize") / "s"
    place.mkdir()
    return place


@pytest.fixture(scope="module")
def final(folder, demo):
    """A finalized search: the job's output and its JSON."""
    search(folder, demo, "--dataset", "demo")
    done = run_job("finalize", folder, *command(demo), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, json.loads((folder / "final.json").read_text())


def test_the_json_has_winner_confirmation_test_and_baseline(final):
    _, found = final
    assert found["winner"]["trial"] in [each["trial"] for each in found["confirm"]["candidates"]]
    for name in ("T1", "U", "S", "H", "AUSUC", "oracle_H"):
        assert 0 <= found["test"][name]["mean"] <= 1
        assert found["test"][name]["sd"] >= 0
    assert found["test"]["oracle_H"]["mean"] >= found["test"]["H"]["mean"]
    best = max(found["baselines"], key=lambda line: line["val_H"])
    assert found["baseline"] == {k: v for k, v in best.items() if k != "val_H"}
    assert 0 < found["baseline"]["H"] < 1
    each = [row["H"] for row in found["test"]["seeds"]]
    assert found["test"]["H"]["mean"] == pytest.approx(sum(each) / 2)


def test_the_test_split_was_opened_once_for_what_was_decided(final, demo):
    (entry,) = ledger.verify(demo / "sealed")
    assert entry.study == "s"
    assert final[1]["winner"]["decision"] in entry.purpose
    assert [each["hash"] for each in final[1]["ledger"]] == [entry.hash]


def test_the_same_command_again_trains_nothing_and_says_the_same(final, folder, demo):
    before = final[1]
    done = run_job("finalize", folder, *command(demo), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((folder / "final.json").read_text()) == before
    assert "trials on" not in done.stdout
    assert len(ledger.verify(demo / "sealed")) == 1


def interrupt(record, number):
    """Make a trial one that was running when its driver was killed, without a checkpoint."""
    with closing(sqlite3.connect(record)) as db, db:
        (trial,) = db.execute("SELECT trial_id FROM trials WHERE number = ?", (number,)).fetchone()
        db.execute(
            "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = ?",
            (trial,),
        )
        db.execute("DELETE FROM trial_values WHERE trial_id = ?", (trial,))


def test_a_trial_of_a_later_stage_is_resumed_to_the_same_result(final, folder, demo):
    # Trials 0 to 3 are of the two blocks that choose the leader, 4 to 7 of the fresh ones.
    (study,) = (demo / "studies").glob("s-confirm-*")
    interrupt(study / "record.db", 6)
    done = run_job("finalize", folder, *command(demo), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((folder / "final.json").read_text()) == final[1]
    assert "confirm: 1 trials on 4 blocks" in done.stdout
    assert "block 4, candidate 1" in done.stdout


def test_the_report_asks_for_nothing_and_has_the_printed_figures(final, demo):
    said, found = final
    page = (demo / "studies" / "s" / "final" / "report.html").read_text()
    assert len(page) < 2_000_000
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    figure = f"{100 * found['test']['H']['mean']:.1f}"
    assert figure in page
    assert figure in said
    table = (demo / "studies" / "s" / "final" / "table.tex").read_text()
    assert figure in table
    assert table.count(r"\\") == table.count("&") / 6


def test_the_script_trains_the_winner_to_the_logged_number(final, demo, tmp_path):
    del final
    script = (demo / "studies" / "s" / "final" / "repro.sh").read_text()
    logged = float(re.search(r"of its epochs is ([0-9.]+)\.\n", script).group(1))
    words = subprocess.run(
        ["sh", "-c", script.replace("python jobs/train.py", "printf '%s\\n'")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")[:-1]
    more = ("--json", "run.json")
    done = run_job("train", tmp_path, *words, *more, ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["best"]["H"] == logged


def test_a_second_opening_needs_a_reason_and_is_told(final, folder, demo):
    del final
    other = (*command(demo)[:4], *SMALL[:-1], "1", "--json", "other.json")
    done = run_job("finalize", folder, *other, ray=True)
    assert done.returncode == 2
    assert "was opened on" in done.stderr
    assert "--reopen" in done.stderr
    again = run_job("finalize", folder, *other, "--reopen", "one seed is enough", ray=True)
    assert again.returncode == 0, again.stderr[-2000:]
    found = json.loads((folder / "other.json").read_text())
    assert [entry["again"] for entry in found["ledger"]] == [False, True]
    page = (demo / "studies" / "s" / "final" / "report.html").read_text()
    assert "opened 2 times" in page
    assert "one seed is enough" in page


def test_the_list_of_studies_names_no_best_training_of_a_refit(final, folder, demo):
    del final
    done = run_job("tune", folder, "--list", "--results", demo)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert {best for name, best in rows.items() if name.startswith("s-refit")} == {"-"}
    assert "-" not in {best for name, best in rows.items() if name.startswith("s-confirm")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--study is missing"),
        (("--study", "nosuch"), "There is no study 'nosuch'"),
        (("--study", "s", "--confirm.blocks", "3"), "confirm.blocks must be 2, 6 or 10; got 3"),
        (("--study", "s", "--refit.seeds", "0"), "refit.seeds must be in 1..100; got 0"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, tmp_path):
    done = run_job("finalize", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
