"""Autotuning of a training step: its precision and attention kernel, by a short test.

Neither choice is best everywhere: on a processor without units for bfloat16 it is slower than
float32, and fused attention saves memory but not always time.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from drmn.config import ComputeConfig

MIN_OPERATIONS_TO_TEST = 1e13
"""Operations of a whole training above which a test of a second pays off. Counted and not timed, so
that a small training is reproducible, to the bit, however busy the machine is."""
GAIN = 1.1
"""How many times faster another mode has to be: less is noise."""
THIRD_STEP_S, SECOND_STEP_S = 1.0, 5.0
"""Seconds of a mode's trial after which there is no third step, and no second step."""
PAIRS = 2**26
"""Maximum number of pairs of tokens for plain attention: a table of more does not fit."""
BACKENDS = {
    "fused": [
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    ],
    "plain": [SDPBackend.MATH],
}


@dataclass(frozen=True, slots=True)
class TrainStepMode:
    """Precision and attention kernel of a step."""

    precision: Literal["fp32", "bf16"] = "fp32"
    attention: Literal["fused", "plain"] = "fused"

    @contextmanager
    def applied(self, device: torch.device) -> Iterator[None]:
        """Run the network this way in a `with` block; losses are taken outside, in float32."""
        low = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with low, sdpa_kernel(BACKENDS[self.attention]):
            yield


def candidates(config: ComputeConfig, pairs: int) -> list[TrainStepMode]:
    """Return the modes that the settings allow, float32 first.

    Args:
        config: The settings.
        pairs: Pairs of tokens that attend to each other in a step; 0 without a transformer.
    """
    both: Any = ("fp32", "bf16") if config.precision == "auto" else (config.precision,)
    kernels: Any = (config.attention,)
    if config.attention == "auto":
        kernels = ("fused", "plain") if 0 < pairs <= PAIRS else ("fused",)
    return [TrainStepMode(*both_) for both_ in itertools.product(both, kernels)]


def autotune(
    config: ComputeConfig,
    model: nn.Module,
    step: Callable[[nn.Module, TrainStepMode], None],
    *,
    times: float,
    pairs: int,
) -> TrainStepMode:
    """Return the fastest mode to train `model` in.

    Args:
        config: The settings.
        model: Left as it is; copies of it are stepped.
        step: Runs a forward and a backward pass of a few images.
        times: Number of such steps that equal the whole training.
        pairs: Pairs of tokens that attend to each other.
    """
    left = candidates(config, pairs)
    if len(left) > 1:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            left = [_fastest(left, model, step, times)]
    return left[0]


def _fastest(
    left: list[TrainStepMode],
    model: nn.Module,
    step: Callable[[nn.Module, TrainStepMode], None],
    times: float,
) -> TrainStepMode:
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - Triton with it

    with FlopCounterMode(display=False) as counted:
        step(copy.deepcopy(model), left[0])
    if counted.get_total_flops() * times < MIN_OPERATIONS_TO_TEST:
        return left[0]
    best, least = left[0], math.inf
    for way in left:
        try:
            seconds = _seconds(copy.deepcopy(model), step, way)
        except RuntimeError:  # this machine has no such kernel
            continue
        if seconds * (1 if best == way else GAIN) < least:
            best, least = way, seconds
    return best


def _seconds(
    model: nn.Module, step: Callable[[nn.Module, TrainStepMode], None], way: TrainStepMode
) -> float:
    """Return the shortest of a step or two after a warm-up; a very long warm-up counts itself."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < (THIRD_STEP_S if len(times) > 1 else SECOND_STEP_S):
        began = time.perf_counter()
        step(model, way)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:] or times)  # the first one warms up
