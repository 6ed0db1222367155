"""The main job as a person runs it: another process, another folder, its output."""

import ast
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from in_process import run_job
from mlflow import MlflowClient
from paths import ROOT
from searches import SPACE, command_of, run, search

from drmn.config import RunConfig
from drmn.data.splits import development
from drmn.evaluation.validation import validate
from drmn.experiment import model_export
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.fields import flatten, with_overrides
from drmn.search.storage.studies import load_study
from drmn.tracking import model_package
from drmn.training.checkpoint import BEST


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory):
    """Return the folder, output and outcome of a search on the demo."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, *search(folder, demo, "--dataset", "demo")


def test_another_dataset_under_a_studys_name_is_refused_before_it_is_read(finished, demo):
    folder, *_ = finished
    other = ("--dataset", "awa2", "--data-root", folder / "nowhere")
    done = run(folder, *command_of(folder, demo, *other))
    assert done.returncode == 2
    was = f"Study {folder.name} was started with other settings: --dataset was 'demo', now 'awa2'"
    assert was in done.stderr


def test_the_outcome_holds_all_that_was_asked_for(finished):
    _, _, outcome = finished
    assert [trial["number"] for trial in outcome["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in outcome["trials"]} <= {"COMPLETE", "PRUNED"}
    best = max(outcome["trials"], key=lambda trial: trial["value"])
    assert outcome["best"]["trial"] == best["number"]
    assert outcome["best"]["H"] == best["value"]
    assert outcome["settings"].keys() == flatten(RunConfig()).keys()
    for figures in (outcome["best"], *outcome["baselines"].values()):
        seen, unseen = figures["S"], figures["U"]
        assert figures["H"] == pytest.approx(2 * seen * unseen / (seen + unseen))
        assert 0 < figures["AUSUC"] < figures["T1"] <= 1
    assert outcome["data"].startswith("demo-tf_efficientnet_lite0-160px-")


def test_the_output_is_lines_that_end_with_the_way_to_mlflow(finished):
    _, output, outcome = finished
    best = outcome["best"]["trial"]
    assert output.count(" done") == 4
    assert f"Best settings of study {outcome['study']} (trial {best}):" in output
    assert f"DRMN, trial {best}" in output
    assert "ESZSL, same features and split" in output
    assert "cosine, same features and split" in output
    assert "softmax, same features and split" in output
    command = output.rstrip().splitlines()[-1].removeprefix("See it in MLflow: ")
    assert command == f"{sys.executable} -m drmn.tracking serve --experiment demo"
    assert "\x1b[" not in output  # no colours where it is no terminal


def test_mlflow_has_the_study_its_trials_and_each_epoch_once(finished):
    folder, _, outcome = finished
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("demo").experiment_id
    runs = {run.data.tags["drmn.run"]: run for run in client.search_runs([experiment])}
    (name,) = (key for key in runs if "/" not in key)
    assert name.startswith(f"{outcome['study']}-")
    assert len(runs) == 1 + 3 + 4  # the study, the baselines, the trials
    for trial in outcome["trials"]:
        run = runs[f"{name}/{trial['number']:04d}"]
        assert run.data.tags["mlflow.parentRunId"] == runs[name].info.run_id
        assert (run.info.status, run.data.tags["state"]) == ("FINISHED", trial["state"])
        assert run.data.params.keys() == flatten(RunConfig()).keys()
        curve = client.get_metric_history(run.info.run_id, "val/H")
        assert sorted(point.step for point in curve) == list(range(1, trial["epochs"] + 1))
        assert run.data.metrics["best/H"] == pytest.approx(trial["value"])
    assert runs[name].data.metrics["best/H"] == pytest.approx(outcome["best"]["H"])


def test_the_best_trial_has_a_picture_of_where_it_looks_in_mlflow_too(finished, demo):
    folder, output, outcome = finished
    best = outcome["best"]["trial"]
    path = trial_folder(demo / "studies" / outcome["study"], best) / "attention.png"
    assert f"Where the best network looks: {path}\n" in output
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("demo").experiment_id
    (run,) = (
        run.info.run_id
        for run in client.search_runs([experiment])
        if run.data.tags["drmn.run"].endswith(f"/{best:04d}")
    )
    pictures = {item.path for item in client.list_artifacts(run, "pictures")}
    assert pictures == {"pictures/attention.png", "pictures/seen-unseen.png"}
    told = Path(client.download_artifacts(run, "pictures/attention.png"))
    assert (told.name, told.read_bytes()) == ("attention.png", path.read_bytes())


HEAVY = (
    *("torch", "timm", "torchvision", "ray", "mlflow", "optuna", "sqlalchemy", "scipy", "pandas"),
)


def loaded(folder, *arguments):
    """Return the lines that the job prints in a process, and the heavy libraries it imported."""
    code = (
        "import runpy, sys; del sys.argv[0]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, ROOT / "jobs" / "tune.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    *lines, heavy = done.stdout.splitlines()
    return lines, heavy


def test_the_same_command_says_the_same_and_imports_nothing_heavy(finished, demo):
    folder, output, _ = finished
    (folder / "first.json").write_text((folder / "out.json").read_text())
    lines, heavy = loaded(folder, *command_of(folder, demo, "--dataset", "demo"))
    assert heavy == "[]"
    assert lines == [line for line in output.splitlines() if " done" not in line]
    assert (folder / "out.json").read_text() == (folder / "first.json").read_text()


def test_just_what_was_damaged_or_deleted_is_made_again(finished, demo):
    folder, output, outcome = finished
    best = trial_folder(demo / "studies" / outcome["study"], outcome["best"]["trial"])
    made = {name: (best / name).read_bytes() for name in ("attention.png", "seen-unseen.png")}
    weights = best / "package" / "model.safetensors"
    before = weights.stat().st_mtime_ns, weights.read_bytes()
    (best / "attention.png").write_bytes(made["attention.png"][:-100])
    (best / "seen-unseen.png").unlink()
    said, again = search(folder, demo, "--dataset", "demo")
    assert said.splitlines() == [line for line in output.splitlines() if " done" not in line]
    assert again == outcome
    assert {name: (best / name).read_bytes() for name in made} == made
    assert (weights.stat().st_mtime_ns, weights.read_bytes()) == before
    weights.write_bytes(before[1][:-1])
    search(folder, demo, "--dataset", "demo")
    assert weights.read_bytes() == before[1]


def test_photos_that_are_gone_when_a_search_ends_cost_the_picture_alone(finished, demo, tmp_path):
    _, _, outcome = finished
    folder = trial_folder(demo / "studies" / outcome["study"], outcome["best"]["trial"])
    store = demo / "features" / outcome["data"]
    names = pd.read_parquet(store / "images.parquet")["path"]
    packed = model_export.Packed(tmp_path / "package", model_package.load(folder / "package"))
    data = development.open_store(store)
    for files in ({}, {name: tmp_path / name for name in names}):
        assert model_export.draw_attention(packed, "none", data, store, files) is None
    assert not list(tmp_path.iterdir())


def test_the_outcome_has_the_digest_of_each_trials_best_checkpoint(finished, demo):
    _, _, outcome = finished
    for trial in outcome["trials"]:
        content = (
            trial_folder(demo / "studies" / outcome["study"], trial["number"]) / BEST
        ).read_bytes()
        assert trial["checkpoint"] == {
            "epoch": trial["best_epoch"],
            "sha256": hashlib.sha256(content[32:]).hexdigest(),
            "bytes": len(content),
        }


def test_the_packed_network_gives_the_figures_that_were_recorded(finished, demo):
    _, _, outcome = finished
    folder = trial_folder(demo / "studies" / outcome["study"], outcome["best"]["trial"])
    data = development.open_store(demo / "features" / outcome["data"])
    run = with_overrides(RunConfig(), outcome["settings"])
    network = model_package.load(folder / "package").network
    again = validate(run, network, data)
    for name in ("T1", "U", "S", "H", "AUSUC", "gamma"):
        assert again[f"val/{name}"] == pytest.approx(outcome["best"][name], abs=1e-5)


def test_changed_settings_are_refused_and_nothing_is_touched(finished, demo):
    folder, _, outcome = finished
    done = run(
        folder,
        *("--dataset", "demo", "--results", demo, "--space", SPACE, "--study", outcome["study"]),
        *("--seed", "5", "--model.sit", "none"),
    )
    assert done.returncode == 2
    assert "--seed was 0, now 5" in done.stderr
    assert "--study NAME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dataset", "cubs"), "Unknown dataset 'cubs'. Did you mean 'cub'?"),
        (("--dataset", "cub", "--data-root", "nowhere"), "--data-root nowhere: no such folder"),
        (("--dataset", "demo", "--space", "nothing"), "--space nothing: no file"),
        (("--dataset", "demo", "--optim.lr", "-1"), "optim.lr must be in (0, 10); got -1.0."),
        (("--dataset", "demo", "--optim.lrr", "1"), "--optim.lr"),
        (("--dataset", "demo", "--backbone", "resnet1001"), "timm has no such model"),
        (("--dataset", "demo", "--levels", "7"), "has no level of stride 7"),
        (("--dataset", "demo", "--fold", "4"), "fold must be 1, 2 or 3; got 4."),
        (("--dataset", "demo", "--cpus", "-1"), "cpus must be positive; got -1.0."),
        (("--dataset", "demo", "--study", "../x"), "study must be letters, digits and ._+- alone"),
        (("--dataset", "demo", "--json", "no/x.json"), "--json no/x.json: no such folder"),
        (("--dataset", "demo", "--tracking-uri", "file:x"), "tracking-uri must be one that starts"),
        (("--dataset", "demo", "--storage", "out"), "The folder of results is --results."),
        (("--list", "--storage", "mysql://u:secret@h/d"), "in the study's folder; got mysql://."),
        (("--dataset", "demo", "--storage", "postgresql://u:secret@h/d"), "into ~/.pgpass or PGP"),
        (
            ("--dataset", "demo", "--budget.checkpoint-mb", "-1"),
            "budget.checkpoint_mb must be 0 or",
        ),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(demo, tmp_path, arguments, words):
    done = run(tmp_path, *arguments, "--results", demo)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert not list(tmp_path.glob("mlflow.db*"))


def test_a_cluster_that_is_too_small_is_named(demo, tmp_path):
    more = ("--dataset", "demo", "--results", demo, "--cpus", "1000")
    done = run_job("tune", tmp_path, *more, ray=True)
    assert done.returncode == 2
    assert "--cpus 1000: the largest node of the cluster has " in done.stderr


def test_help_answers_without_importing_anything_heavy(tmp_path):
    lines, heavy = loaded(tmp_path, "--help")
    assert heavy == "[]"
    assert "--budget.trials" in "".join(lines)


@pytest.mark.parametrize("look", [["--list"], ["--status"], ["--stop"]])
def test_a_look_at_the_studies_needs_their_records_alone(finished, demo, look):
    folder, _, _ = finished
    _, heavy = loaded(folder, *look, "--study", folder.name, "--results", demo)
    assert set(ast.literal_eval(heavy)) <= {"optuna"}


def stop_command(demo, study):
    command = [sys.executable, ROOT / "jobs" / "tune.py", "--stop", "--study", study]
    done = subprocess.run(
        [*command, "--results", demo], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"study {study}: stopped; the same command resumes it\n"


@pytest.mark.parametrize("how", [pytest.param("Ctrl-C", marks=pytest.mark.slow), "--stop"])
def test_stopping_a_fork_ends_soon_leaves_no_process_and_loses_nothing(
    demo, finished, tmp_path, how
):
    command = [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo", "--results", demo),
        *("--space", SPACE, "--study", tmp_path.name, "--budget.trials", "200"),
        *("--fork", finished[0].name),
    ]
    # A shell's background jobs, CI's perhaps, ignore Ctrl-C, and so does what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    job = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    assert "trial" in job.stdout.readline()
    children = psutil.Process(job.pid).children(recursive=True)
    if how == "Ctrl-C":
        os.killpg(job.pid, signal.SIGINT)  # as a terminal does: to all of the group
    else:
        stop_command(demo, tmp_path.name)  # SIGTERM, to the driver alone
    _, errors = job.communicate(timeout=240)  # the search would take longer
    assert job.returncode == 130
    assert "the same command resumes it" in errors
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    record = load_study(demo / "studies", tmp_path.name)
    assert len(record.user_attrs["inherited"]) == 4
    assert any(trial.intermediate_values for trial in record.trials)


def test_the_studies_are_listed_and_one_is_shown(finished, demo):
    folder, _, outcome = finished
    listed = run(folder, "--list", "--status", "--study", folder.name, "--results", demo)
    assert listed.returncode == 0, listed.stderr
    best = f"{100 * outcome['best']['H']:.1f} (trial {outcome['best']['trial']})"
    (row,) = (line for line in listed.stdout.splitlines() if line.startswith(f"{folder.name} "))
    assert best in row
    assert row.split()[1] == "4"
    assert row.rstrip().endswith("none")
    assert f"study {folder.name}: trials: " in listed.stdout
    assert f"; best {best}\n" in listed.stdout
    epochs = outcome["spent"]["epochs"]
    assert epochs == sum(trial["epochs"] for trial in outcome["trials"])
    assert f"spent: 4 trials, {epochs} epochs, " in listed.stdout


def test_the_files_of_a_study_are_compared_with_their_digests(finished, demo):
    folder, _, outcome = finished
    look = ("--verify", "--study", folder.name, "--results", demo)
    whole = run(folder, "--status", *look)
    assert whole.returncode == 0, whole.stderr
    last = whole.stdout.splitlines()[-1]
    assert re.fullmatch(rf"study {folder.name}: all \d+ files are as they were written", last)
    number = f"{outcome['best']['trial']:04d}"
    weights = demo / "studies" / folder.name / "trials" / number / "package" / "model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        shown = run(folder, *look, "--json", folder / "verify.json")
    finally:
        weights.write_bytes(content)
    assert shown.returncode == 2
    assert f"{weights}: damaged; the study's command makes it again" in shown.stdout
    place = demo / "studies" / folder.name
    assert shown.stderr.startswith(f"error: {place}: damaged or gone: 1 of ")
    (bad,) = json.loads((folder / "verify.json").read_text())["bad"]
    assert (place / bad["file"]).samefile(weights)


def test_a_search_says_what_it_spent_and_why_it_ended(finished):
    _, output, outcome = finished
    assert outcome["ended"] == "all 4 trials were started (--budget.trials)"
    assert outcome["spent"]["worker_hours"] > 0
    assert f"; it ended because {outcome['ended']}.\n" in output


def test_a_plan_tells_what_a_search_will_take_and_starts_none(demo, tmp_path):
    done = run(
        tmp_path,
        *("--dataset", "demo", "--results", demo, "--space", SPACE, "--study", tmp_path.name),
        *("--plan", "--budget.trials", "6", "--budget.price", "2", "--policy.pruner", "none"),
        *("--policy.factor", "4", "--finetune.lr", "0.1"),
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("Plan of study")[0]
    assert "note: --policy.factor 4 has no effect: --policy.pruner is none\n" in notes
    assert "note: --finetune.lr 0.1 has no effect: --tier is frozen and --policy" in notes
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    rows = {name: values for name, *values in lines}
    assert rows["trials of 6 run to the end"] == ["6", "6", "6"]
    assert rows["epochs"] == ["18", "18", "18"]
    assert len(rows["cost"]) == 3
    assert not (demo / "studies" / tmp_path.name).exists()


def test_a_study_that_is_over_may_be_made_to_take_less_room(finished, demo):
    folder, _, outcome = finished
    output, again = search(folder, demo, "--dataset", "demo", "--budget.checkpoint-mb", "0.001")
    best = outcome["best"]["trial"]
    assert f"note: the best checkpoint, of trial {best}, takes " in output
    kept = (demo / "studies" / outcome["study"]).glob(f"trials/*/{BEST}")
    assert [int(path.parent.name) for path in kept] == [best]
    assert [t["number"] for t in again["trials"] if not t["dropped"]] == [best]
