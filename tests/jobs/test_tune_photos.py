"""The main job on real photos; a file of its own, for a file's tests run one after another."""

import pytest
from searches import search


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
