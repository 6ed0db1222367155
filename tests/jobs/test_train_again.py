"""A winner trained again, by the command that a search prints and by `--from`: the same numbers."""

import json
import re
import shlex
from pathlib import Path

import pytest
from in_process import run_job
from mlflow import MlflowClient
from searches import SPACE, run, search

from drmn.config import RunConfig
from drmn.errors import StudyError
from drmn.fields import flatten
from drmn.flags import flag


@pytest.fixture(scope="module")
def found(demo, tmp_path_factory):
    """Return the folder, output and outcome of a search with a given setting."""
    folder = tmp_path_factory.mktemp("found")
    given = ("--optim.epochs", "2", "--budget.trials", "3")
    return folder, *search(folder, demo, "--dataset", "demo", *given)


def trained(folder, demo, name, *arguments):
    """Run `jobs/train.py`; return its outcome."""
    more = ("--results", demo, "--run", name, "--json", "train.json", "--pictures.every", 0)
    done = run_job("train", folder, *arguments, *more, ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "train.json").read_text())


def figures(plain):
    return {name: value for name, value in plain["best"].items() if name not in ("trial", "epoch")}


def test_a_given_setting_wins_over_the_space_and_is_told(found):
    _, output, outcome = found
    told = "note: --optim.epochs 2 holds in every trial: the space fixes 3, the command line wins\n"
    assert output.count(told) == 1
    assert {trial["epochs"] for trial in outcome["trials"]} == {2}
    assert outcome["settings"]["optim.epochs"] == 2


def test_the_printed_command_trains_the_winner_to_the_same_numbers(found, demo):
    folder, output, outcome = found
    (line,) = (line for line in output.splitlines() if " --dataset demo " in line)
    python, job, *arguments = shlex.split(line)
    assert job == "jobs/train.py"
    assert Path(python).name.startswith("python")
    for name, value in outcome["settings"].items():
        assert f"{flag(name)} {value}" in line
    assert f"--results {demo} --backbone tf_efficientnet_lite0 --levels 8+16+32" in line
    again = trained(folder, demo, "printed", *arguments)
    assert again["settings"] == outcome["settings"]
    assert figures(again) == figures(outcome)


@pytest.mark.slow  # as the printed command is
def test_the_winner_of_a_study_is_trained_to_the_same_numbers(found, demo):
    folder, output, outcome = found
    assert f"--from {outcome['study']}/{outcome['best']['trial']} --results {demo}\n" in output
    again = trained(folder, demo, "study", "--from", outcome["study"])
    assert again["settings"] == outcome["settings"]
    assert figures(again) == figures(outcome)


@pytest.mark.parametrize("kind", ["trial", "json", "mlflow", "mlflow study", "settings"])
def test_every_source_gives_the_settings_and_options_override_them(found, demo, kind, monkeypatch):
    folder, _, outcome = found
    winner = outcome["best"]["trial"]
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("demo").experiment_id
    runs = {run.data.tags["drmn.run"]: run.info.run_id for run in client.search_runs([experiment])}
    (study,) = (key for key in runs if "/" not in key and key.startswith(outcome["study"]))
    (folder / "settings.json").write_text(json.dumps(outcome["settings"]))
    source = {
        "trial": f"{outcome['study']}/{winner:03d}",
        "json": "out.json",
        "mlflow": runs[f"{study}/{winner:04d}"],
        "mlflow study": runs[study],
        "settings": "settings.json",
    }[kind]
    plans = []

    def stop(plan, *_):
        plans.append(plan)
        raise StudyError("Enough is known.")

    monkeypatch.setattr("drmn.search.driver.train", stop)
    more = ("--results", demo, "--optim.epochs", "1")
    data = ("--dataset", "demo") if kind == "settings" else ()
    run_job("train", folder, "--from", source, *more, *data)
    (plan,) = plans
    assert flatten(plan.base) == outcome["settings"] | {"optim.epochs": 1}
    name = "demo-frozen-full" if kind == "settings" else f"{outcome['study']}-{winner:03d}"
    assert (plan.dataset, plan.name) == ("demo", name)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing", "There is no study 'nothing' in "),
        ("{study}/77", "has no trial 77; trials: 0, 1, 2."),
        ("no.json", "--from no.json: [Errno 2] No such file or directory"),
        ("bad.json", "--from bad.json: Unknown setting 'optim.lrr'. Did you mean 'optim.lr'?"),
        ("0" * 32, f"--from {'0' * 32}: MLflow at sqlite:///"),
    ],
)
def test_a_source_that_has_no_settings_is_named(found, demo, source, words):
    folder, _, outcome = found
    (folder / "bad.json").write_text('{"optim.lrr": 1}')
    uri = f"sqlite:///{folder}/mlflow.db"
    name = source.format(study=outcome["study"])
    done = run_job("train", folder, "--from", name, "--results", demo, "--tracking-uri", uri)
    assert done.returncode == 2
    assert words in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_another_given_setting_is_refused_by_its_flag(found, demo):
    folder, _, outcome = found
    place = ("--results", demo, "--space", SPACE, "--study", outcome["study"])
    done = run(folder, "--dataset", "demo", *place)
    assert done.returncode == 2
    assert "--optim.epochs was 2, now left to the space" in done.stderr
    done = run(folder, "--dataset", "demo", *place, "--optim.epochs", "3")
    assert "--optim.epochs was 2, now 3" in done.stderr
    assert flatten(RunConfig())["optim.epochs"] == 10


def test_a_result_in_json_is_that_of_the_mode(found, demo):
    folder, _, outcome = found
    place = ("--results", demo, "--study", outcome["study"], "--json", "look.json")
    for mode in ("--status", "--list", "--replay"):
        space = ("--space", SPACE) if mode == "--replay" else ()
        assert run(folder, mode, *place, *space).returncode == 0
        shown = json.loads((folder / "look.json").read_text())
        row = shown[0] if mode == "--list" else shown
        assert row["study"] == outcome["study"]
        if mode != "--replay":
            assert row["best"]["trial"] == outcome["best"]["trial"]
