"""The main job on real photos; a file of its own, for a file's tests run one after another."""

import json

import numpy as np
import pytest
import torch
from in_process import run_job
from PIL import Image
from safetensors.torch import save_file
from searches import PLAIN, search

from drmn.vision import timm


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [("cub", "cub2010_mini"), pytest.param("awa2", "awa2_mini", marks=pytest.mark.slow)],
)
def test_real_photos_in_the_official_layout_are_searched(shared, demo, tmp_path, dataset, folder):
    output, outcome = search(
        tmp_path, demo, "--dataset", dataset, "--data-root", shared(folder), "--image-size", "112"
    )
    assert "a subset of the published set" in output.replace("\n", " ")
    assert outcome["data"].startswith(f"{dataset}-tf_efficientnet_lite0-112px-")
    assert outcome["best"]["T1"] > 1.3 / len(VALIDATION[dataset])
    assert len(outcome["trials"]) == 4


VALIDATION = {"cub": range(8), "awa2": range(6)}

TINY = "vit_tiny_patch16_224"
BLOCKS = {"b8+b12", "b12", "b4+b8+b12"}
QUICK = ("--image-size", "64", "--optim.epochs", "2", "--model.width", "16", "--json", "out.json")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return a folder with a user's own photos, and with weights of a transformer in a file."""
    root, chance = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    rows = ["class,a,b,c,d"]
    for number in range(10):
        folder = root / "fish" / "images" / f"c{number}"
        folder.mkdir(parents=True)
        for photo in range(6):
            pixels = chance.integers(0, 255, (70, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{photo}.png")
        rows.append(f"c{number}," + ",".join(f"{v:.2f}" for v in chance.random(4)))
    (root / "fish" / "attributes.csv").write_text("\n".join(rows))
    torch.manual_seed(0)
    save_file(timm.create_model(TINY, pretrained=False).state_dict(), root / "tiny.safetensors")
    return root


@pytest.mark.slow
def test_own_photos_are_searched_and_trained_on_blocks_of_a_transformer(own):
    backbone = ("--dataset", "own", "--data-root", "fish", "--backbone", TINY)
    features = (*backbone, "--weights", "tiny.safetensors", "--levels", "cls+b4+b8+b-1")
    asked = (*features, *QUICK, "--study", "fish", "--budget.trials", "4", *PLAIN)
    done = run_job("tune", own, *asked, "--policy.sampler", "random", ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads((own / "out.json").read_text())
    assert outcome["data"].startswith(f"own-{TINY}-64px-")
    found = [trial["params"]["model.levels"] for trial in outcome["trials"]]
    assert len(found) == 4
    assert len(set(found)) > 1
    assert set(found) <= BLOCKS

    network = ("--model.levels", "b-3+b-1", "--model.sit", "none", "--model.global-input", "cls")
    asked = (*features, *QUICK, "--run", "last", *network)
    asked = (*asked, "--pictures.every", "0", "--finetune.lr", "0.1")
    done = run_job("train", own, *asked, ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "note: --finetune.lr 0.1 has no effect: --tier is frozen\n" in done.stdout
    outcome = json.loads((own / "out.json").read_text())
    assert outcome["settings"]["model.levels"] == "b4+b12"
