"""The rows of the paper's ablation table."""

import re

import pytest
from conftest import ROOT

from drmn.ablations import ABLATIONS, ablated
from drmn.config import ModelConfig, RunConfig, flatten
from drmn.errors import ConfigError


def changed(name, config):
    before, after = flatten(config), flatten(ablated(config, name))
    return {key: after[key] for key in after if after[key] != before[key]}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("full", {}),
        ("no-dab", {"model.dab": False}),
        ("no-fusion", {"model.levels": "32"}),
        ("no-channel-attention", {"model.channel_attention": False}),
        ("no-sit", {"model.sit": "none"}),
        ("no-global-branch", {"model.global_branch": False}),
    ],
)
def test_a_row_removes_one_part_and_changes_nothing_else(name, left):
    assert changed(name, RunConfig()) == left


def test_without_fusion_the_coarsest_level_is_left_whatever_the_levels_are():
    assert changed("no-fusion", RunConfig(model=ModelConfig(levels="4+8+16"))) == {
        "model.levels": "16"
    }


def test_the_rows_are_those_of_the_page():
    table = (ROOT / "docs" / "paper.md").read_text().split("## Ablation rows")[1]
    assert {"full", *re.findall(r"\| `(no-[a-z-]+)` \|", table)} == set(ABLATIONS)


def test_a_row_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'no-sit'"):
        ablated(RunConfig(), "nosit")
