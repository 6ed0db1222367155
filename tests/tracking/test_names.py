"""Names of experiments and registered models."""

import pytest

from drmn.tracking.names import experiment_name, registered_name


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("fish", "own-fish"),
        ("/data/fish/", "own-fish"),
        ("fish/../birds", "own-birds"),
        ("s3://bucket/my.fish v2/", "own-my-fish-v2"),
        ("/", "own"),
    ],
)
def test_an_own_dataset_has_the_name_of_its_folder(root, name):
    assert experiment_name({"dataset": "own", "data_root": root}) == name
    assert registered_name(name) == f"drmn-{name}"


def test_the_current_folder_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "fish").mkdir()
    monkeypatch.chdir(tmp_path / "fish")
    assert experiment_name({"dataset": "own", "data_root": "."}) == "own-fish"


def test_a_known_dataset_has_its_own_name_wherever_it_lies():
    assert experiment_name({"dataset": "cub", "data_root": "fish"}) == "cub"
    assert experiment_name({"dataset": "demo"}) == "demo"
