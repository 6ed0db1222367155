"""Settings that others make useless: each rule, and the notes on command lines and spaces."""

from dataclasses import dataclass, field

import pytest

from drmn import space as spaces
from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.fields import flatten, with_overrides
from drmn.flags import given
from drmn.search.study.given_settings import checked
from drmn.unused import RULES, notes, overridden, unused, values_of

SEARCH = {
    **flatten(RunConfig()),
    "policy.finetune": 0,
    "policy.pruner": "halving",
    "policy.sampler": "curve-gp",
    "policy.second_objective": "",
    "pictures.every": 5,
    "budget.money": 0.0,
    "plan": False,
    "views": 3,
    "workers": 2,
    "max_workers": 0,
    "encoding": "pca",
    "dataset": "cub",
}
"""Settings of a job in which the rules find nothing but what belongs to the finetuned tier."""

TIER = "--tier is frozen and --policy.finetune is 0"
CASES = [
    ("finetune.lr", {}, TIER, {"tier": "finetuned"}),
    ("finetune.augment", {}, TIER, {"policy.finetune": 2}),
    ("compute.compile", {}, TIER, {"tier": "finetuned"}),
    ("compute.checkpointing", {}, TIER, {"tier": "finetuned"}),
    (
        "finetune.augment",
        {"tier": "finetuned", "optim.views": False},
        "--optim.views is False",
        {"optim.views": True},
    ),
    ("optim.views", {"views": 0}, f"{TIER} and --views is 0", {"views": 1}),
    ("model.sit_layers", {"model.sit": "none"}, "--model.sit is none", {"model.sit": "attr"}),
    ("compute.attention", {"model.sit": "none"}, "--model.sit is none", {"model.sit": "attr"}),
    ("model.sit_scope", {"model.sit": "attr"}, "--model.sit is attr", {"model.sit": "batch"}),
    ("model.sit_scope", {"workers": 1}, "--workers is 1 and --max-workers is 0", {"workers": 2}),
    ("model.channel_attention", {"model.dab": False}, "--model.dab is False", {"model.dab": True}),
    (
        "model.gate_reduction",
        {"model.channel_attention": False},
        "--model.channel-attention is False",
        {"model.channel_attention": True},
    ),
    ("model.fusion", {"model.levels": "32"}, "--model.levels is 32", {"model.levels": "16+32"}),
    (
        "loss.global_branch",
        {"model.global_branch": False},
        "--model.global-branch is False",
        {"model.global_branch": True},
    ),
    (
        "model.global_input",
        {"model.global_branch": False},
        "--model.global-branch is False",
        {"model.global_branch": True},
    ),
    (
        "policy.factor",
        {"policy.pruner": "none"},
        "--policy.pruner is none",
        {"policy.pruner": "hyperband"},
    ),
    (
        "policy.startup_trials",
        {"policy.sampler": "random"},
        "--policy.sampler is random",
        {"policy.sampler": "tpe"},
    ),
    (
        "policy.sampler",
        {"policy.second_objective": "val/U"},
        "--policy.second-objective is val/U",
        {"policy.sampler": "tpe"},
    ),
    ("pictures.images", {"pictures.every": 0}, "--pictures.every is 0", {"pictures.every": 1}),
    (
        "budget.price",
        {},
        "--budget.money is 0.0 and --plan is False",
        {"plan": True},
    ),
    ("pca_share", {"encoding": "int8"}, "--encoding is int8", {"encoding": "pca"}),
    ("data_root", {"dataset": "demo"}, "--dataset is demo", {"dataset": "cub"}),
]


@pytest.mark.parametrize(("name", "off", "reason", "on"), CASES)
def test_a_setting_that_another_makes_useless_is_found_with_the_reason(name, off, reason, on):
    assert unused([name], SEARCH | off) == {name: reason}
    assert unused([name], SEARCH | off | on) == {}


def test_every_rule_is_among_the_cases():
    judged = {
        rule
        for rule in range(len(RULES))
        for name, off, reason, _ in CASES
        if RULES[rule].covers(name) and RULES[rule].reason(SEARCH | off) == reason
    }
    assert judged == set(range(len(RULES)))


@dataclass(frozen=True)
class Job:
    config: RunConfig = field(default_factory=RunConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    workers: int = 1


def test_a_note_names_flag_value_and_reason_and_passes_over_defaults():
    job = Job(config=RunConfig(model=ModelConfig(sit="none", sit_layers=2)))
    line = given(["--model.sit", "none", "--model.sit-layers", "2", "--finetune.lr", "1e-05"])
    assert notes(line, values_of(job), flatten(RunConfig())) == [
        "note: --model.sit-layers 2 has no effect: --model.sit is none"
    ]
    assert len(notes(line, values_of(job))) == 2
    assert notes(given(["--pca-share", "0.5"]), values_of(job)) == [
        "note: --pca-share 0.5 has no effect: --encoding is bf16"
    ]


def test_an_ablation_that_overrides_a_given_setting_is_named():
    line = given(["--model.sit", "attr", "--optim.lr", "1e-3", "--model.dab", "True"])
    now = flatten(RunConfig(model=ModelConfig(sit="none")))
    assert overridden(line, now, "--ablation no-sit") == [
        "note: --model.sit attr has no effect: --ablation no-sit sets none"
    ]


def space(trial):
    if trial.suggest_categorical("model.sit", ["none", "attr"]) == "none":
        trial.suggest_int("model.sit_layers", 1, 3)
    trial.suggest_float("finetune.lr", 1e-5, 1e-3, log=True)
    return {"finetune.augment": "color", "compute.compile": False, "model.sit_dropout": 0.2}


def test_a_space_is_told_what_has_no_effect_in_any_of_its_trials():
    base = RunConfig()
    assert checked(space, base, {}, {}, SEARCH) == [
        f"note: the space fixes finetune.augment, which has no effect: {TIER}",
        f"note: the space searches finetune.lr, which has no effect: {TIER}",
        "note: the space searches model.sit_layers, which has no effect: --model.sit is none",
    ]
    assert len(checked(space, base, {}, {}, SEARCH | {"policy.finetune": 1})) == 1


@pytest.mark.long
def test_a_given_setting_is_noted_only_if_no_trial_uses_it():
    options = given(["--model.sit-heads", "2", "--policy.factor", "4", "--model.sit", "none"])
    base = RunConfig(model=ModelConfig(sit_heads=2))
    job, one = SEARCH | {"policy.pruner": "none"}, {"model.sit_heads": 2}
    own = spaces.load("own")
    assert checked(own, base, one, options, job) == [
        "note: --policy.factor 4 has no effect: --policy.pruner is none"
    ]
    base = RunConfig(model=ModelConfig(sit_heads=2, sit="none"))
    found = checked(own, base, one | {"model.sit": "none"}, options, job)
    assert "note: --model.sit-heads 2 has no effect: --model.sit is none" in found


@pytest.mark.parametrize("name", sorted(file.stem for file in spaces.SPACES.glob("*.py")))
def test_the_spaces_there_are_set_nothing_in_vain(name):
    plain = SEARCH | {"workers": 1, "encoding": "bf16", "views": 0}
    assert checked(spaces.load(name), RunConfig(), {}, {}, plain) == []


def test_views_that_the_features_lack_are_said_to_have_no_effect_and_not_to_be_searched():
    asked, base = {"optim.views": False}, with_overrides(RunConfig(), {"optim.views": False})
    for views, words in ((0, "has no effect: "), (3, "holds in every trial: the space searches")):
        job = SEARCH | {"workers": 1, "encoding": "bf16", "views": views}
        (note,) = checked(spaces.load("cub"), base, asked, {"optim.views": "False"}, job)
        assert note.startswith(f"note: --optim.views False {words}")
