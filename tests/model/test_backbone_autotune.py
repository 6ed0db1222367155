"""The fastest way to run a backbone: whichever it is, the maps are the same."""

import math
from dataclasses import replace

import pytest
import torch

from drmn.data.feature_config import FeatureConfig
from drmn.malloc import keep_memory
from drmn.model import autotune
from drmn.model.autotune import PLAIN_MODE, InferenceMode, autotune_backbone, relative_error, runner
from drmn.model.backbone import Backbone

CPU = torch.device("cpu")
CONFIG = FeatureConfig(backbone="resnet10t", weights="random", image_size=64, levels="16+32")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("way", "most"),
    [
        (PLAIN_MODE, 0),
        (InferenceMode(folded=True), 1e-5),
        (InferenceMode(folded=True, bf16=True), 0.02),
        (InferenceMode(bf16=True), 0.02),
    ],
    ids=str,
)
def test_every_way_makes_the_same_maps(pixels, way, most):
    backbone = Backbone(CONFIG)
    made = runner(backbone, way, CPU)(pixels)
    assert relative_error(backbone(pixels), made) <= most


def test_compiled_code_takes_a_last_batch_that_is_smaller(pixels):
    backbone = Backbone(CONFIG)
    run = runner(backbone, InferenceMode(compiled=True), CPU, batch=4)
    for count in (4, 3, 1):
        want = backbone(pixels[:count])
        made = run(pixels[:count])
        assert {s: level.shape for s, level in made.items()} == {
            s: level.shape for s, level in want.items()
        }
        assert relative_error(want, made) < 1e-4


def test_a_way_leaves_the_backbone_as_it_was(pixels):
    backbone = Backbone(CONFIG)
    before = backbone.digest
    for way in (InferenceMode(folded=True), InferenceMode(bf16=True)):
        runner(backbone, way, CPU)(pixels)
    assert backbone.digest == before
    assert torch.equal(backbone(pixels)[32], Backbone(CONFIG)(pixels)[32])


def test_little_work_is_run_plainly_so_that_it_comes_out_the_same_every_time(pixels):
    chosen = autotune_backbone(Backbone(CONFIG), pixels, images=1000, device=CPU)
    assert (chosen.way, chosen.seconds) == (PLAIN_MODE, {})


def test_of_much_work_the_fastest_way_is_chosen_among_those_that_are_right(pixels, monkeypatch):
    images = 1 + int(autotune.MIN_OPERATIONS // autotune.operations(Backbone(CONFIG)))
    chosen = autotune_backbone(Backbone(CONFIG), pixels, images, CPU)
    assert set(chosen.seconds) >= {"plain", "folded"}
    assert chosen.seconds[str(chosen.way)] == min(chosen.seconds.values())
    monkeypatch.setattr(autotune, "TOLERANCE", 0.0)
    strict = autotune_backbone(Backbone(CONFIG), pixels, images, CPU)
    assert strict.way == PLAIN_MODE
    assert strict.seconds["folded"] == math.inf


def test_a_way_that_fails_is_left_out(pixels):
    """lite0 pads by size, which cannot be traced: there is nothing to fold."""
    config = replace(CONFIG, backbone="tf_efficientnet_lite0")
    backbone = Backbone(config)
    images = 1 + int(autotune.MIN_OPERATIONS // autotune.operations(backbone))
    chosen = autotune_backbone(backbone, pixels, images, CPU)
    assert "folded" not in chosen.seconds


@pytest.mark.parametrize(
    ("rows", "batch"), [(1, 1), (10, 10), (32, 32), (33, 17), (64, 32), (198, 29)]
)
def test_a_shard_is_cut_into_equal_batches(rows, batch):
    assert autotune.batch_of(Backbone(CONFIG), rows) == batch


def test_batches_of_large_work_are_small():
    config = FeatureConfig(backbone="resnet50", weights="random", image_size=448, levels="32")
    backbone = Backbone(config)
    assert autotune.operations(backbone) == pytest.approx(
        33e9, rel=0.1
    )  # 4.1 GMAC at 224, times 4 x 2
    assert autotune.batch_of(backbone, 60) == 15


def test_work_is_reckoned_where_the_backbone_is(pixels):
    """On a GPU the weights are there: what they are tried with has to be, too."""
    backbone = Backbone(CONFIG).to("meta")
    assert backbone.shapes() == Backbone(CONFIG).shapes()
    assert (
        autotune_backbone(backbone, pixels, images=10, device=torch.device("meta")).way
        == PLAIN_MODE
    )


def test_keeping_memory_may_be_said_twice():
    keep_memory()
    keep_memory()
