"""The paper's ablation rows: presets of a run, and a space of exactly these."""

import re
from collections import Counter

import optuna
import pytest
from paths import ROOT

from drmn import space as spaces
from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import flatten, with_overrides
from drmn.model.ablations import ABLATIONS, ablated

ROWS = re.findall(
    r"^\| (no [\w ]+) \| `--(\S+) (\S+)` \|",
    (ROOT / "docs" / "paper.md").read_text(),
    re.MULTILINE,
)
"""The table of docs/paper.md: row, flag, value."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_there_is_a_preset_for_each_row_of_the_paper_and_the_full_network():
    assert [row.lower().replace(" ", "-") for row, _, _ in ROWS] == list(ABLATIONS)[1:]
    assert ABLATIONS["full"] == {}


def test_the_presets_are_the_settings_that_the_table_has():
    flags = [(flag.replace("-", "_"), value) for _, flag, value in ROWS]
    (*presets,) = (preset for preset in ABLATIONS.values() if preset)
    assert [{flag: value} for flag, value in flags] == [
        {name: str(value) for name, value in preset.items()} for preset in presets
    ]


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_preset_is_a_valid_run_that_differs_in_that_part_alone(name):
    full, run = flatten(RunConfig()), flatten(with_overrides(RunConfig(), ABLATIONS[name]))
    assert {key: run[key] for key in run if run[key] != full[key]} == ABLATIONS[name]


def drawn(space, points):
    """Return the run of each of so many points that chance draws."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(points)]
    return [spaces.settings(RunConfig(), space(trial), trial.params) for trial in trials]


def row_of(run):
    """Return the name of the preset that makes `run` of the space's full network."""
    kept = {"model.sit": "attr", "optim.epochs": 10, "optim.schedule": "cosine", "model.width": 256}
    full = with_overrides(RunConfig(), kept)
    (name,) = (n for n, preset in ABLATIONS.items() if with_overrides(full, preset) == run)
    return name


def test_the_points_of_the_space_are_the_presets_and_no_other():
    rows = {row_of(run) for run in drawn(spaces.load("ablation"), 120)}
    assert rows == ABLATIONS.keys()


@pytest.mark.long
def test_chance_draws_each_row_as_often_as_another():
    # 600 points on six rows: 100 each, give or take sqrt(600 * 1/6 * 5/6) = 9.1.
    counts = Counter(row_of(run) for run in drawn(spaces.load("ablation"), 600))
    assert all(abs(count - 100) < 4 * 9.1 for count in counts.values())


def test_the_first_trial_is_the_full_network():
    point = spaces.baseline(spaces.load("ablation"), RunConfig())
    assert point == {
        "model.dab": True,
        "model.fusion": "add",
        "model.channel_attention": True,
        "model.sit": "attr",
        "model.global_branch": True,
    }


def test_a_row_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'no-sit'"):
        ablated(RunConfig(), "nosit")
