"""What a sampler proposes."""

import optuna
import pytest
from optuna.trial import TrialState

from drmn.errors import ConfigError
from drmn.search.config import Budget, PolicyConfig
from drmn.search.samplers.factory import make_sampler
from drmn.search.samplers.sampler_study import SamplerStudy


def drawn(config, seed, number):
    study = optuna.create_study(sampler=make_sampler(config, seed, number, known=number))
    return study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"]


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_chance_depends_on_the_seed_and_the_trials_number_alone(sampler):
    config = PolicyConfig(sampler=sampler)
    points = {(seed, number): drawn(config, seed, number) for seed in (0, 1) for number in range(5)}
    assert len(set(points.values())) == 10
    assert all(drawn(config, *key) == value for key, value in points.items())


X = {"x": optuna.distributions.FloatDistribution(0, 1)}


def recorded(*trials):
    """Return trials as a record has them."""
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study.get_trials()


def trial(x, *curve, state):
    return optuna.trial.create_trial(
        state=state,
        value=max(curve) if state == TrialState.COMPLETE else None,
        params={"x": x},
        distributions=X,
        intermediate_values=dict(enumerate(curve, start=1)),
    )


HISTORY = recorded(
    trial(0.1, 0.3, 0.6, state=TrialState.COMPLETE),
    trial(0.2, 0.2, 0.1, state=TrialState.PRUNED),
    trial(0.3, state=TrialState.FAIL),
    trial(0.4, 0.5, state=TrialState.RUNNING),
)


@pytest.mark.parametrize(
    ("sampler", "pruned"), [("gp", ("COMPLETE", 0.2)), ("tpe", ("PRUNED", 0.1))]
)
def test_a_sampler_is_told_what_it_can_learn_from(sampler, pruned):
    """The GP looks at no pruned trial; a failed one is as bad as the worst before it."""
    sampler_study = SamplerStudy(PolicyConfig(sampler=sampler), seed=0)
    for _ in range(2):  # once, however often it is asked
        sampler_study.ask(4, HISTORY)
    told = sampler_study.study.get_trials()[:4]
    found = [(t.state.name, t._values[0] if t._values else None) for t in told]
    assert found == [("COMPLETE", 0.6), pruned, ("COMPLETE", 0.2), ("RUNNING", None)]
    assert [t.params["x"] for t in told] == [0.1, 0.2, 0.3, 0.4]
    if sampler == "tpe":
        assert told[1].intermediate_values == {1: 0.2, 2: 0.1}
    assert told[3].intermediate_values == {1: 0.5}  # of a trial on its way its epochs so far


def test_of_trials_beyond_the_known_ones_the_settings_alone_are_told():
    sampler_study = SamplerStudy(PolicyConfig(window=3), seed=0)
    sampler_study.ask(4, HISTORY, known=1)
    told = sampler_study.study.get_trials()[:4]
    assert [t.state.name for t in told] == ["COMPLETE", "RUNNING", "RUNNING", "RUNNING"]
    assert [bool(t.intermediate_values) for t in told] == [True, False, False, False]


def test_the_gp_follows_what_it_is_told():
    """Values rise towards x = 0.8, in pruned trials alone."""
    curve = [trial(x / 10, 1 - abs(x / 10 - 0.8), state=TrialState.PRUNED) for x in range(11)]
    sampler_study = SamplerStudy(PolicyConfig(sampler="gp", startup_trials=5), seed=0)
    asked = sampler_study.ask(11, recorded(*curve))
    found = asked.suggest_float("x", 0, 1)
    assert found == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_two_objectives_are_told_at_the_epoch_that_is_best_in_the_first(sampler):
    config = PolicyConfig(
        sampler=sampler, second_objective="cost/worker_seconds", pruner="none", startup_trials=2
    )
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(
            state=state,
            value=0.5 if state == TrialState.COMPLETE else None,
            params={"x": x},
            distributions=X,
            intermediate_values=dict.fromkeys(range(1, 3), 0.1) | {3: 0.5} if curve else {},
            user_attrs={"epoch/3": {"cost/worker_seconds": 10 * x}},
        )
        for x, curve, state in [
            (0.1, True, TrialState.COMPLETE),
            (0.2, True, TrialState.COMPLETE),
            (0.3, False, TrialState.FAIL),
        ]
    )
    sampler_study = SamplerStudy(config, seed=0)
    assert 0 <= sampler_study.ask(3, study.get_trials()).suggest_float("x", 0, 1) <= 1
    values = [t.values for t in sampler_study.study.get_trials()[:3]]
    assert values == [[0.5, 1.0], [0.5, 2.0], [0.5, 2.0]]
    assert [d.name for d in sampler_study.study.directions] == ["MAXIMIZE", "MINIMIZE"]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "curve-gp"])
def test_the_first_trials_are_drawn_by_chance_so_that_there_is_something_to_compare(sampler):
    config = PolicyConfig(sampler=sampler, startup_trials=5)
    kinds = [type(make_sampler(config, 0, n, known=n)).__name__ for n in (0, 4, 5)]
    assert kinds[:2] == ["LatinHypercubeSampler"] * 2
    names = {"tpe": "TPESampler", "gp": "GPSampler", "curve-gp": "LearningCurveSampler"}
    assert kinds[2] == names[sampler]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyConfig(factor=1), "policy.factor must be at least 2; got 1."),
        (lambda: Budget(trials=0), "budget.trials must be positive; got 0."),
        (lambda: PolicyConfig(window=-1), "policy.window must be 0 or more; got -1."),
        (
            lambda: Budget(money=5.0),
            "budget.price must be positive where budget.money is set; got 0.0.",
        ),
        (lambda: Budget(minutes=-1.0), "budget.minutes must be 0 or more; got -1.0."),
    ],
)
def test_a_bad_setting_is_refused_by_name(make, message):
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value) == message
