"""How a training step is computed: precision and attention kernel, found by a short test.

Neither is best everywhere: on a processor without units for bfloat16 it is slower than float32,
and fused attention saves memory but not always time.
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
"""Operations of a whole training from which on a test of a second pays. Counted and not timed, so
that a small training comes out the same, to the bit, however busy the machine is."""
GAIN = 1.1
"""How much faster another way has to be: less is noise."""
THIRD_STEP_S, SECOND_STEP_S = 1.0, 5.0
"""What a way is tried for: no third step after the one, no second step after the other."""
PAIRS = 2**26
"""Pairs of tokens that a table is made for at most: more do not fit."""
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
    """How a step is computed."""

    precision: Literal["fp32", "bf16"] = "fp32"
    attention: Literal["fused", "plain"] = "fused"

    @contextmanager
    def applied(self, device: torch.device) -> Iterator[None]:
        """Run the network this way in a `with` block; losses are taken outside, in float32."""
        low = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with low, sdpa_kernel(BACKENDS[self.attention]):
            yield


def candidates(config: ComputeConfig, pairs: int) -> list[TrainStepMode]:
    """Return the ways that the settings leave, the plainest first.

    Args:
        config: What is asked for.
        pairs: Of tokens that attend to each other in a step; 0 without a transformer.
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
    """Return the fastest way to train `model`.

    Args:
        config: What is asked for.
        model: Left as it is; copies of it are stepped.
        step: Takes a few images forth and back through a network.
        times: How many such steps the training is worth.
        pairs: Of tokens that attend to each other.
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
    """Return the least of a step or two after a first one; a very long one is taken as it is."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < (THIRD_STEP_S if len(times) > 1 else SECOND_STEP_S):
        began = time.perf_counter()
        step(model, way)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:] or times)  # the first one warms up
