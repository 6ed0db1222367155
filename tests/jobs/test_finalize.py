"""From a search to a tested model, as a person runs it: resumed, reported, and opened once."""

import itertools
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from in_process import run_job
from mlflow import MlflowClient
from searches import search

from drmn.data.sealed import ledger
from drmn.model.ablations import ABLATIONS
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import summarize_all

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
    assert "trials" not in done.stdout
    assert len(ledger.verify(demo / "sealed")) == 1


@pytest.mark.usefixtures("ray_does_not_start")
def test_ray_that_does_not_start_is_found_before_features_are_made_again(
    final, folder, demo, tmp_path
):
    del final
    kept = (demo / "features").rename(tmp_path / "features")
    try:
        done = run_job("finalize", folder, *command(demo))
    finally:
        shutil.rmtree(demo / "features", ignore_errors=True)
        kept.rename(demo / "features")
    assert done.returncode == 2
    assert "error: Ray did not start on this machine (Timed out after 30 seconds" in done.stderr


def interrupt(record, number):
    """Make a trial one that was running when its driver was killed, without a checkpoint."""
    with closing(sqlite3.connect(record)) as db, db:
        (trial,) = db.execute("SELECT trial_id FROM trials WHERE number = ?", (number,)).fetchone()
        db.execute(
            "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = ?",
            (trial,),
        )
        db.execute("DELETE FROM trial_values WHERE trial_id = ?", (trial,))


@pytest.mark.slow  # a finalize more
def test_a_trial_of_a_later_stage_is_resumed_to_the_same_result(final, folder, demo):
    # Trials 0 to 3 are of the two blocks that choose the leader, 4 to 7 of the fresh ones.
    (study,) = (demo / "studies").glob("s-confirm-*")
    interrupt(study / "record.db", 6)
    done = run_job("finalize", folder, *command(demo), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((folder / "final.json").read_text()) == final[1]
    assert "confirm on 4 blocks: 1 trials" in done.stdout
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


@pytest.mark.slow  # a training more
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


def test_the_page_of_the_search_in_mlflow_has_report_and_model(final, folder, demo):
    del final
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    version = client.get_model_version_by_alias("drmn-demo", "champion")
    assert version.tags["refitted"] == "true"
    assert "# DRMN on" in version.description
    (search_run,) = client.search_runs(
        [client.get_experiment_by_name("demo").experiment_id],
        "tags.study = 's' and tags.kind = 'study'",
    )
    note = search_run.data.tags["mlflow.note.content"]
    assert "**Finalized**: trial " in note
    assert "[drmn-demo](#/models/drmn-demo)" in note
    (item,) = client.list_artifacts(search_run.info.run_id, "final")
    assert item.path == "final/report.html"
    spool = demo / "studies" / "s" / "spool.db"
    spool.unlink()
    run_job("sync", folder, demo / "studies" / "s")  # of the record alone
    again = client.get_run(search_run.info.run_id).data.tags["mlflow.note.content"]
    assert again == note


def test_each_seed_of_the_refit_has_its_model_with_its_own_test_figures(final, folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("demo").experiment_id
    models = client.search_logged_models([experiment], filter_string="name LIKE 's-refit%'")
    assert {model.name for model in models} == {"s-refit", "s-refit-seed1"}
    figures = {m.name: {f.key: f.value for f in m.metrics} for m in models}
    for name, row in zip(("s-refit", "s-refit-seed1"), final[1]["test"]["seeds"], strict=True):
        assert figures[name]["test/H"] == pytest.approx(row["H"])


@pytest.mark.slow  # five trainings a block
def test_the_ablation_is_paired_with_the_winner_on_its_blocks(final, folder, demo):
    _, found = final
    done = run_job("finalize", folder, *command(demo, "--ablate"), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads((folder / "final.json").read_text())
    assert {**made, "ablation": []} == found
    rows = {row["row"]: row for row in made["ablation"]}
    assert list(rows) == [name for name in ABLATIONS if name != "full"]
    winner = found["winner"]["trial"]
    (own,) = (each for each in found["confirm"]["candidates"] if each["trial"] == winner)
    (study,) = (demo / "studies").glob("s-ablate-*")
    trials = iter(summarize_all(load_study(demo / "studies", study.name)))
    for name, row in rows.items():
        if row["note"]:
            assert row["note"] == "the winner has no such part"
            continue
        of = list(itertools.islice(trials, 2))
        assert [trial.settings["block"] for trial in of] == [3, 4]  # the fresh ones
        assert all(t.settings[k] == v for t in of for k, v in ABLATIONS[name].items())
        assert row["blocks"] == [trial.value for trial in of]
        gaps = [a - b for a, b in zip(own["blocks"][2:], row["blocks"], strict=True)]
        assert row["objective"]["difference"] == pytest.approx(sum(gaps) / 2)
    assert next(trials, None) is None
    assert any(not row["note"] for row in rows.values())
    out = demo / "studies" / "s" / "final"
    assert "without dual attention" in (out / "ablation.md").read_text()
    assert r"without dual attention & " in (out / "ablation.tex").read_text()
    assert "Ablation of the winner" in (out / "report.html").read_text()
    again = run_job("finalize", folder, *command(demo, "--ablate"), ray=True)
    assert "ablation of the winner" not in again.stdout
    assert json.loads((folder / "final.json").read_text()) == made


def test_the_report_job_draws_the_search_and_names_the_report(final, folder, demo):
    del final
    done = run_job("report", folder, "--study", "s", "--results", demo)
    assert done.returncode == 0, done.stderr
    page = demo / "studies" / "s" / "figures" / "study.html"
    assert f"Study: {page}\n" in done.stdout
    assert f"Report: {demo / 'studies' / 's' / 'final' / 'report.html'}\n" in done.stdout
    assert "The best trials" in page.read_text()


def other(demo):
    """Return the arguments of another decision on the same search: a refit of one seed."""
    return (*command(demo)[:4], *SMALL[:-1], "1", "--json", "other.json")


def test_a_second_opening_needs_a_reason(final, folder, demo):
    del final
    done = run_job("finalize", folder, *other(demo), ray=True)
    assert done.returncode == 2
    assert "was opened on" in done.stderr
    assert "--reopen" in done.stderr


@pytest.mark.slow  # a refit more
def test_a_second_opening_is_in_ledger_and_report(final, folder, demo):
    del final
    reason = ("--reopen", "one seed is enough")
    again = run_job("finalize", folder, *other(demo), *reason, ray=True)
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
    [((), "--study is missing"), (("--study", "nosuch"), "There is no study 'nosuch'")],
)
def test_a_mistake_of_the_report_job_is_one_sentence(arguments, message, tmp_path):
    done = run_job("report", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


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
