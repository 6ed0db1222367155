"""Damaged files of every outside format are read or refused in a sentence, and crash nothing."""

import io
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hdf5_files
import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.pixels import UnreadableError, decode_bytes
from drmn.data.readers import class_tables, hdf5, xlsa17
from drmn.data.specs import SPECS
from drmn.data.splits.development import Development
from drmn.doctor import launch
from drmn.errors import UserError
from drmn.evaluation.ensemble import Rule
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.search.study.warm_start import inherit
from drmn.tracking.model_package import Package, load, save


@dataclass
class Place:
    """Where a whole file is made, and of what."""

    folder: Path
    shared: Callable[[str], Path]
    toy: Development


FEATURES = FeatureConfig(weights="random", levels="32")


@st.composite
def damage(draw):
    """Return a function that damages bytes: flips, cuts, inserts and repeats some."""
    places = st.floats(0, 1, exclude_max=True)
    edits = draw(st.lists(st.tuples(places, st.integers(0, 5), st.integers(0, 255)), min_size=1))

    def damaged(content):
        content = bytearray(content)
        for share, kind, byte in edits:
            place = int(share * len(content))
            if kind == 0:
                content[place : place + 1] = bytes(
                    c ^ 1 << byte % 8 for c in content[place : place + 1]
                )
            elif kind == 1:
                content[place : place + 1] = bytes([byte])
            elif kind == 2:
                content[place:place] = bytes([byte] * (1 + byte % 9))
            elif kind == 3:
                del content[place : place + 1 + byte]
            elif kind == 4:
                content[place:place] = content[place : place + byte]
            else:
                del content[place + byte :]
        return bytes(content)

    return damaged


def photo(form, **options):
    """Return a small photo in a format."""

    def made(place):
        file, content = place.folder / "photo", io.BytesIO()
        noise = torch.randint(0, 255, (24, 32, 3), generator=torch.Generator().manual_seed(0))
        Image.fromarray(noise.byte().numpy()).save(content, form, **options)
        file.write_bytes(content.getvalue())
        return file, lambda: decode_bytes(file.read_bytes())

    return made


def attributes(place):
    file = place.folder / "attributes.csv"
    file.write_text('class,red,big\nfox,1,0\n"big, brown bear",0.5,1\ncat,0,.2\ndog,0,1\n')
    return file, lambda: class_tables.read_attributes(file)


def splits(place):
    file, names = place.folder / "splits.csv", ["fox", "big, brown bear", "cat", "dog"]
    file.write_text('class,split\nfox,train\n"big, brown bear",val\ncat,test\ndog,train\n')
    return file, lambda: class_tables.read_splits(file, names)


def official(file):
    """Return one of the official files of AWA2, among the others."""

    def made(place):
        source = place.shared("awa2_mini")
        shutil.copytree(source / "xlsa17", place.folder / "xlsa17", copy_function=shutil.copyfile)
        shutil.copytree(source / "w2v", place.folder / "w2v", copy_function=shutil.copyfile)
        animals = place.folder / "Animals_with_Attributes2"
        animals.mkdir()
        for each in (source / animals.name).iterdir():
            if each.is_dir():
                (animals / each.name).symlink_to(each)
            else:
                shutil.copyfile(each, animals / each.name)
        return next(place.folder.rglob(file)), lambda: xlsa17.read(place.folder, SPECS["awa2"])

    return made


def features(place):
    root, file = place.shared("awa2_mini"), place.folder / "features.hdf5"
    content = hdf5_files.tables(root, "AWA2")
    content["feature_map"] = hdf5_files.maps(content, (4, 2, 2))
    hdf5_files.write(file, content, compression="gzip")
    return file, lambda: hdf5.read(file, root, SPECS["awa2"])


def cluster(place):
    file = place.folder / "cluster.yaml"
    file.write_text(
        "cluster_name: zsl\nprovider: {type: local, head_ip: 10.0.0.1}\n"
        "auth: {ssh_user: me, ssh_private_key: ~/.ssh/id}\n"
        "file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}\n"
    )
    return file, lambda: list(launch.file(file))


def best_settings(place):
    file = place.folder / "best.json"
    file.write_text(json.dumps([{"optim.lr": 0.003, "model.fusion": "add", "optim.epochs": 4}]))

    def read():
        inherit(optuna.create_study(), place.folder, fork="", warm_start=str(file))

    return file, read


def package(file):
    """Return a file of a packed network."""

    def made(place):
        torch.manual_seed(0)
        backbone = Backbone(FEATURES)
        run = RunConfig(model=ModelConfig(levels="32", width=8, sit="none"))
        network = DRMN(run.model, backbone.channels, attributes=6, seen=6)
        rule = Rule("bonus", beta=0.3, gamma=0.2, delta=0.5)
        save(
            place.folder / "package",
            Package(backbone, network, run, place.toy.classes, rule),
            FEATURES,
        )
        return place.folder / "package" / file, lambda: load(place.folder / "package")

    return made


CASES = {
    **{f"photo.{form}": photo(form) for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")},
    "photo.progressive": photo("JPEG", progressive=True),
    "attributes.csv": attributes,
    "splits.csv": splits,
    "features.hdf5": features,
    "cluster.yaml": cluster,
    "best.json": best_settings,
    **{
        name: official(name)
        for name in ("att_splits.mat", "res101.mat", "valclasses1.txt", "predicates.txt")
    },
    "AWA2_attribute.npy": official("AWA2_attribute.npy"),
    **{name: package(name) for name in ("about.json", "model.safetensors")},
}
REFUSALS = (UserError, UnreadableError)


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_read_or_refused(case, tmp_path, shared, toy):
    file, read = CASES[case](Place(tmp_path, shared, toy))
    whole = file.read_bytes()
    read()  # what is damaged is a file that can be read

    @given(damage())
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    def damaged(change):
        file.write_bytes(change(whole))
        said = "read"
        try:
            read()
        except REFUSALS as problem:
            said = str(problem)
        assert said
        assert "\n" not in said

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damaged()
