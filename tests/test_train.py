"""Training as a stream of epochs."""

from itertools import islice

from drmn.config import ModelConfig, OptimConfig, RunConfig, with_overrides
from drmn.train import fit

CONFIG = RunConfig(
    model=ModelConfig(sit="attr", scale=3.0), optim=OptimConfig(epochs=4, batch_size=16, lr=3e-3)
)


def test_resuming_changes_nothing(toy):
    straight = [epoch.metrics for epoch in fit(CONFIG, toy)]
    *_, half = islice(fit(CONFIG, toy), 2)
    resumed = [epoch.metrics for epoch in fit(CONFIG, toy, resume=half.state)]
    assert resumed == straight[2:]


def test_the_toy_data_is_learnt(toy):
    config = with_overrides(CONFIG, {"optim.epochs": 25})
    *_, last = fit(config, toy)
    assert last.metrics["val/H"] > 0.6
