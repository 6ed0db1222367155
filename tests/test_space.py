"""Search spaces: whatever they ask for and return is a valid run, and the baseline is in them."""

import re
import warnings

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drmn import space as spaces
from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import flatten, with_overrides

NAMES = sorted(file.stem for file in spaces.SPACES.glob("*.py"))
BASES = [
    RunConfig(),
    # As far from the spaces as a valid run gets.
    with_overrides(
        RunConfig(), {"optim.lr": 9.0, "model.scale": 20.0, "model.levels": "4", "fold": 3}
    ),
    with_overrides(RunConfig(), {"optim.lr": 1e-9, "model.sit": "none", "model.fusion": "concat"}),
]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def sampled(space, points=60):
    """Yield what the space returns and what it asked for, at points of chance."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(points):
        trial = study.ask()
        yield space(trial), trial.params


def asked(space, params):
    """Return what `space` asks for where it is answered with `params`, checked against ranges."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of a value outside its range
        trial = optuna.trial.FixedTrial(params)
        space(trial)
    return trial.params


def test_there_is_a_space_for_each_dataset():
    assert {"awa2", "cub", "demo", "sun"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_point_of_a_space_is_a_valid_run_with_those_settings(name):
    for constants, params in sampled(spaces.load(name)):
        flat = flatten(spaces.settings(RunConfig(), constants, params))
        assert flat == {**flatten(RunConfig()), **constants, **params}


@pytest.mark.parametrize("name", NAMES)
def test_a_space_does_not_fix_what_it_asks_for(name):
    for constants, params in sampled(spaces.load(name)):
        assert not constants.keys() & params.keys()


@pytest.mark.parametrize("name", NAMES)
def test_no_space_asks_for_the_calibration_the_seed_or_the_fold(name):
    # Gamma has an exact optimum for each run, and a seed that is searched is luck that is kept.
    for constants, params in sampled(spaces.load(name)):
        names = constants.keys() | params.keys()
        assert not [n for n in names if "gamma" in n]
        assert not names & {"seed", "fold"}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", NAMES)
def test_the_baseline_is_a_point_of_its_space_and_a_valid_run(name, base):
    space = spaces.load(name)
    point = spaces.baseline(space, base)
    assert asked(space, point) == point
    flat = flatten(spaces.settings(base, space(optuna.trial.FixedTrial(point)), point))
    assert point.items() <= flat.items()


def test_the_baseline_is_the_base_wherever_the_space_has_it():
    base = with_overrides(
        RunConfig(), {"optim.lr": 2e-3, "model.sit": "attr", "loss.self_calibration": 0.1}
    )

    def space(trial):
        trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)  # has 2e-3
        trial.suggest_int("optim.epochs", 12, 20)  # 10 is below it
        trial.suggest_float("loss.self_calibration", 0.0, 0.05)  # 0.1 is above it
        trial.suggest_categorical("model.sit", ["none", "attr"])
        trial.suggest_categorical("model.levels", ["8+16", "32"])  # lacks 16+32: the first
        return {}

    assert spaces.baseline(space, base) == {
        "optim.lr": 2e-3,
        "optim.epochs": 12,
        "loss.self_calibration": 0.05,
        "model.sit": "attr",
        "model.levels": "8+16",
    }


def test_the_baseline_takes_the_branch_that_its_own_choice_opens():
    def space(trial):
        if trial.suggest_categorical("model.sit", ["none", "attr"]) != "none":
            trial.suggest_float("model.sit_dropout", 0.1, 0.7)
        return {}

    without = with_overrides(RunConfig(), {"model.sit": "none"})
    assert spaces.baseline(space, without) == {"model.sit": "none"}
    within = with_overrides(RunConfig(), {"model.sit": "attr"})
    assert spaces.baseline(space, within) == {"model.sit": "attr", "model.sit_dropout": 0.5}


@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 9), st.integers(1, 60))
def test_the_baseline_is_on_the_grid_of_a_stepped_whole_number(low, width, step, epochs):
    last = low + width // step * step  # what the grid reaches

    def space(trial):
        trial.suggest_int("optim.epochs", low, last + width % step, step=step)
        return {}

    base = with_overrides(RunConfig(), {"optim.epochs": epochs})
    found = spaces.baseline(space, base)["optim.epochs"]
    grid = range(low, last + 1, step)
    assert found in grid
    assert abs(found - epochs) == min(abs(value - epochs) for value in grid)


@given(st.floats(0, 1), st.sampled_from([0.1, 0.25, 0.3]), st.floats(0, 3))
def test_the_baseline_is_on_the_grid_of_a_stepped_number(low, step, weight):
    def space(trial):
        trial.suggest_float("loss.self_calibration", low, low + 4 * step + step / 3, step=step)
        return {}

    base = with_overrides(RunConfig(), {"loss.self_calibration": weight})
    found = spaces.baseline(space, base)["loss.self_calibration"]
    grid = [low + n * step for n in range(5)]
    assert min(abs(found - value) for value in grid) < 1e-9
    assert abs(found - weight) == pytest.approx(min(abs(value - weight) for value in grid))


def test_optuna_takes_the_last_point_of_a_grid_whose_sum_rounds_up():
    def space(trial):
        trial.suggest_float("loss.self_calibration", 0.0, 0.3, step=0.1)  # 3 * 0.1 > 0.3
        return {}

    point = spaces.baseline(space, with_overrides(RunConfig(), {"loss.self_calibration": 2.0}))
    assert asked(space, point) == point == {"loss.self_calibration": 0.3}


def test_a_missing_space_is_answered_with_those_there_are():
    message = re.escape(f"--space cup: no file {spaces.SPACES / 'cup.py'}. Spaces: ")
    with pytest.raises(
        ConfigError, match=f"{message}ablation, awa2, cub, demo.*; or give a .py file"
    ):
        spaces.load("cup")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(f"no file {tmp_path / 'mine.py'}.")):
        spaces.load(str(tmp_path / "mine.py"))


def test_a_file_without_a_space_is_refused(tmp_path):
    file = tmp_path / "empty.py"
    file.write_text("SPACE = 1\n")
    with pytest.raises(ConfigError, match=re.escape(f"{file} defines no function space(trial).")):
        spaces.load(str(file))


def test_a_file_may_be_given_by_its_path(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def space(trial):\n"
        "    trial.suggest_float('optim.lr', 0.1, 0.2)\n"
        "    return {'optim.epochs': 3}\n"
    )
    ((constants, params),) = sampled(spaces.load(str(file)), points=1)
    assert constants == {"optim.epochs": 3}
    assert 0.1 <= params["optim.lr"] <= 0.2


def test_a_space_that_asks_for_no_setting_is_told_the_nearest():
    def space(trial):
        trial.suggest_float("optim.lrr", 0.1, 0.2)
        return {}

    message = "The space asks for 'optim.lrr', which is no setting of a run."
    with pytest.raises(ConfigError, match=f"{re.escape(message)} Did you mean 'optim.lr'"):
        spaces.baseline(space, RunConfig())


def test_a_mistake_inside_a_space_is_not_taken_for_an_unknown_setting():
    def space(trial):
        return {"optim.epochs": {"adam": 3}[trial.suggest_categorical("optim.name", ["adamw"])]}

    with pytest.raises(ConfigError, match="The space raised KeyError: 'adamw'"):
        spaces.baseline(space, RunConfig())


def test_a_number_asked_for_where_a_word_belongs_is_refused_by_name():
    def space(trial):
        trial.suggest_float("model.levels", 8.0, 32.0)
        return {}

    with pytest.raises(
        ConfigError, match=re.escape("model.levels as a number; it is str: '16+32'.")
    ):
        spaces.baseline(space, RunConfig())


def test_a_space_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def space(trial:\n")
    with pytest.raises(ConfigError, match=r"broken\.py: SyntaxError: "):
        spaces.load(str(file))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (lambda trial: None, "space(trial) must return constants ({} for none); got None."),
        (
            lambda trial: {"optim.lr": trial.suggest_float("optim.lr", 0.1, 0.01)},
            "The space asks for optim.lr from 0.1 to 0.01: nothing is there.",
        ),
        (lambda trial: {"optim.epoch": 3}, "Unknown setting 'optim.epoch'."),
        (lambda trial: {"optim.epochs": "3"}, "optim.epochs must be int; got '3' (str)."),
    ],
)
def test_a_space_that_cannot_be_run_is_refused_before_anything_is(space, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        spaces.baseline(space, RunConfig())
