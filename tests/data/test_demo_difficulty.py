"""The demo is no toy: what is where must be learnt, pooled pixels do not tell."""

import torch
from torchvision.transforms.functional import resize

from drmn.baselines import eszsl
from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.data import development, features, images
from drmn.data.features import FeatureKey
from drmn.extract import open_catalogue
from drmn.train import fit


def thumbnails(catalogue):
    """Yield each picture as one region of 16 x 16 pixels."""
    for path in catalogue.images:
        pixels = resize(images.load(catalogue.root / path), [16, 16], antialias=True)
        yield {32: pixels.float().flatten()[None, None]}


def test_a_linear_model_on_pooled_pixels_fails_where_attention_on_features_does_not(demo, tmp_path):
    catalogue = open_catalogue("demo", demo / "demo")
    key = FeatureKey(
        dataset="demo",
        catalogue=catalogue.digest,
        backbone="pixels",
        weights="none",
        image_size=16,
        preprocess="none",
        levels=(32,),
    )
    linear = eszsl(
        development.open_store(features.write(tmp_path, key, catalogue, thumbnails(catalogue)))
    )
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
