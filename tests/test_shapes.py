"""The shapes that signatures state are checked while tests run (`conftest.py`)."""

import pytest
import torch
from jaxtyping import TypeCheckError

from drmn.evaluation.metrics import harmonic_means


def test_arguments_of_another_shape_are_refused():
    with pytest.raises(TypeCheckError):
        harmonic_means(torch.ones(2), torch.ones(3))
