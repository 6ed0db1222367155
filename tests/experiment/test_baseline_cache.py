"""The lines to beat are those of the features at hand, computed once."""

import pytest

from drmn.evaluation import baselines
from drmn.experiment.baseline_cache import cached_baselines


@pytest.fixture(scope="module")
def lines(toy):
    return baselines.fit_baselines(toy)


@pytest.mark.long
def test_lines_are_computed_once_and_come_back_as_they_were(lines, toy, tmp_path, monkeypatch):
    assert cached_baselines(toy, 1, tmp_path) == lines
    monkeypatch.setattr(baselines, "fit_baselines", lambda _: pytest.fail("computed again"))
    assert cached_baselines(toy, 1, tmp_path) == lines


@pytest.mark.long
def test_another_fold_or_other_code_has_lines_of_its_own(lines, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "fit_baselines", lambda _: lines)
    cached_baselines(toy, 1, tmp_path)
    cached_baselines(toy, 2, tmp_path)
    monkeypatch.setattr("drmn.experiment.code_digest.digest", lambda _: "changed")
    cached_baselines(toy, 1, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
