"""The demo is no toy: what is where must be learnt, pooled pixels do not tell."""

import pytest
import torch
from torchvision.transforms.functional import resize
from toys import write_store

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.data.images import decode
from drmn.data.splits import development
from drmn.data.store.feature_store import FeatureKey
from drmn.evaluation.baselines import fit_baselines, strongest
from drmn.prepare.datasets import open_dataset
from drmn.training.loop import fit


def thumbnails(catalogue):
    """Return each picture as one region of 16 x 16 pixels."""
    pixels = [resize(decode.load(file), [16, 16], antialias=True) for file in catalogue.files]
    return torch.stack(pixels).float().flatten(1)[:, None]


@pytest.mark.slow
def test_a_linear_model_on_pooled_pixels_fails_where_attention_on_features_does_not(demo, tmp_path):
    catalogue = open_dataset("demo", demo / "demo", tmp_path)
    key = FeatureKey(
        dataset="demo",
        catalogue=catalogue.digest,
        backbone="pixels",
        weights="none",
        image_size=16,
        preprocess="none",
        levels=(32,),
    )
    store = write_store(tmp_path, key, catalogue, {32: thumbnails(catalogue)})
    linear = strongest(fit_baselines(development.open_store(store)))
    (store,) = (demo / "features").glob("demo-tf_efficientnet_lite0-160px-*")
    config = RunConfig(
        model=ModelConfig(sit="none", levels="16+32", fusion="concat", scale=2.2, width=192),
        optim=OptimConfig(lr=3e-3, batch_size=16, epochs=8),
    )
    torch.manual_seed(0)
    *_, last = fit(config, development.open_store(store, levels="16+32"))
    # Measured: 0.19 and 0.56.
    assert linear.metrics["val/H"] < 0.3
    assert last.metrics["val/H"] > 0.45
