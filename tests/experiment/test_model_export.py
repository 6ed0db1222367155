"""Packages of trained networks: the backbone that was fine-tuned is the one that is packed."""

import io

import pytest
import torch
from rich.console import Console

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits.photos import open_photos
from drmn.experiment.model_export import pack
from drmn.fields import with_overrides
from drmn.final.exported import Exported
from drmn.final.parity import checked_export, difference
from drmn.model.extraction import backbone_of
from drmn.prepare.job import FeatureRequest
from drmn.report.terminal import prepared
from drmn.tracking.model_package import load
from drmn.training.loop import fit

FEATURES = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="16+32")
RUN = with_overrides(
    RunConfig(),
    {
        "tier": "finetuned",
        "finetune.lr": 1e-2,
        "optim.epochs": 1,
        "optim.batch_size": 64,
        "model.levels": "16+32",
        "model.width": 16,
        "model.sit": "none",
    },
)
CONSOLE = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Return the folder of a packed fine-tuned network, its store and some photos."""
    place = tmp_path_factory.mktemp("tuned")
    request = FeatureRequest(dataset="demo", data_root="data", features=FEATURES, results=place)
    store, catalogue = prepared(CONSOLE, request)
    backbone, _ = backbone_of(store)
    data = open_photos(catalogue, backbone.preprocess, augment="none")
    (epoch,) = fit(RUN, data, backbone=backbone)
    shared = place / "backbone.safetensors"
    state = epoch.state | {"metrics": epoch.metrics}
    pack(place / "model", RUN, state, data, store, shared=shared)
    assert not shared.exists()  # of the study's other trials, which are frozen
    return place / "model", store, list(catalogue.files[:3]), epoch.state["model"]


@pytest.mark.long
def test_the_packed_backbone_is_the_one_that_was_trained(tuned):
    folder, store, _, weights = tuned
    packed, (plain, _) = load(folder).backbone.state_dict(), backbone_of(store)
    for name, value in packed.items():
        assert torch.equal(value, weights[f"backbone.{name}"]), name
    changed = [k for k, v in plain.state_dict().items() if not torch.equal(v, packed[k])]
    assert any("layer4" in name for name in changed)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_fine_tuned_network_is_exported_with_its_backbone(tuned, tmp_path, kind):
    folder, store, photos, _ = tuned
    package, file = load(folder), tmp_path / f"m.{kind}"
    assert checked_export(package, file, photos).largest <= 1e-4
    content = [photo.read_bytes() for photo in photos]
    package.backbone = backbone_of(store)[0].eval()
    assert difference(package, Exported(file), content) > 1e-4  # with the frozen one it answers so
