"""The files of a packed network, checked before they are sent."""

import json

import pytest
import torch
from safetensors.torch import save_file

from drmn.errors import DataError
from drmn.tracking.package_files import require_whole


@pytest.fixture
def package(tmp_path):
    """Return the folder of a package that shares its backbone."""
    folder = tmp_path / "package"
    folder.mkdir()
    save_file({"a": torch.zeros(9), "b": torch.ones(2, 2)}, folder / "model.safetensors")
    save_file({"w": torch.zeros(9)}, tmp_path / "backbone.safetensors")
    about = {"backbone": {"file": "../backbone.safetensors", "sha256": "0"}}
    (folder / "about.json").write_text(json.dumps(about))
    require_whole(folder)
    return folder


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
@pytest.mark.parametrize("name", ["about.json", "model.safetensors", "../backbone.safetensors"])
def test_a_file_that_is_cut_short_is_found(package, name, keep):
    content = (package / name).read_bytes()
    (package / name).write_bytes(content[:keep])
    with pytest.raises(DataError, match=r"the model's files are damaged .* packs it again"):
        require_whole(package)


@pytest.mark.parametrize("name", ["about.json", "model.safetensors", "../backbone.safetensors"])
def test_a_file_that_is_gone_is_found(package, name):
    (package / name).unlink()
    with pytest.raises(DataError, match="the model's files are damaged"):
        require_whole(package)
