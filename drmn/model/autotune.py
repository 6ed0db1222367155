"""Autotuning of a frozen backbone: the fastest inference mode on this machine, by a test.

None is fastest everywhere: bfloat16 is eight times as fast as float32 where a processor has units
for it and a third as fast where it has none.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from drmn.level_names import LevelName
from drmn.model.backbone import Backbone

Run = Callable[[Tensor], dict[LevelName, Tensor]]
"""Pixels to maps by stride."""

MIN_OPERATIONS = 1e13
"""Operations above which a test of some seconds pays off: a minute or two of two cores. Counted and
not timed, so that small work is reproducible, to the bit, however busy the machine is."""
WORTH_COMPILING = 2e14
"""Operations above which a compiler run of a minute or two pays off."""
SAMPLE_IMAGES = 2
"""Images that a mode is tested on."""
TOLERANCE = 0.01
"""The largest relative difference from float32 that is accepted: bfloat16 has 0.006."""


@dataclass(frozen=True, slots=True)
class InferenceMode:
    """Options for running a backbone."""

    folded: bool = False
    """Batch normalisation folded into the convolutions before it."""
    bf16: bool = False
    compiled: bool = False
    """Compiled by torch.compile, with weights frozen into the code."""

    def __str__(self) -> str:
        parts = {"folded": self.folded, "bf16": self.bf16, "compiled": self.compiled}
        return "+".join(name for name, on in parts.items() if on) or "plain"


PLAIN_MODE = InferenceMode()


def runner(backbone: Backbone, way: InferenceMode, device: torch.device, batch: int = 1) -> Run:
    """Return a function that runs `backbone` in a mode on `device`, on `batch` images at most.

    Raises:
        Exception: This backbone or machine does not support it; of any type that torch raises.
    """
    backbone = backbone.to(device)
    body: nn.Module = backbone.body
    if way.folded:
        body = fuse(body)  # a copy
    elif way.bf16:
        body = copy.deepcopy(body)
    kind = torch.bfloat16 if way.bf16 else torch.float32
    body = body.to(device, kind).to(memory_format=torch.channels_last)
    call = _compiled(body, batch) if way.compiled else body

    @torch.no_grad()
    def run(pixels: Tensor) -> dict[LevelName, Tensor]:
        there = pixels.to(device, kind, memory_format=torch.channels_last)
        return {s: level.cpu() for s, level in backbone.maps(call(there)).items()}

    return run


def batch_of(backbone: Backbone, rows: int) -> int:
    """Return how many images to run at a time, so that shards of `rows` come in equal batches."""
    most = max(1, min(MAX_BATCH, int(BATCH_WORK // operations(backbone))))
    return math.ceil(rows / math.ceil(rows / most))


MAX_BATCH, BATCH_WORK = 32, 5e11
"""Maximum number of images of a batch, and operations of a batch of large images."""


def _compiled(body: nn.Module, batch: int) -> Callable[[Tensor], Any]:
    import torch._inductor.config as inductor  # noqa: PLC0415

    inductor.freezing = True
    code = torch.compile(body, dynamic=False)

    def call(pixels: Tensor) -> Any:
        # Code is compiled for one size: a smaller batch is padded, or it would be recompiled.
        short = batch - len(pixels)
        full = torch.cat([pixels, pixels[:1].expand(short, -1, -1, -1)]) if short else pixels
        outputs = code(full.contiguous(memory_format=torch.channels_last))
        return [level[: len(pixels)] for level in outputs]

    return call


def inference_modes(device: torch.device, work: float) -> Iterator[InferenceMode]:
    """Yield the modes worth testing for so many operations."""
    yield InferenceMode(folded=True)
    units = torch.cpu.get_capabilities()
    fast_bf16 = device.type == "cuda" or units.get("amx_bf16") or units.get("avx512_bf16")
    if fast_bf16:
        yield InferenceMode(folded=True, bf16=True)
        yield InferenceMode(bf16=True)
    if work > WORTH_COMPILING:
        yield InferenceMode(bf16=bool(fast_bf16), compiled=True)


@dataclass(frozen=True, slots=True)
class ChosenMode:
    """The fastest mode, and the measured times."""

    way: InferenceMode
    run: Run
    seconds: dict[str, float]
    """Seconds per image in each mode tested; empty if a test was not worth it."""


def autotune_backbone(
    backbone: Backbone, pixels: Tensor, images: int, device: torch.device
) -> ChosenMode:
    """Return the fastest mode for `images` images whose output is right within 1 %.

    Args:
        backbone: The backbone to run.
        pixels: A batch of the images.
        images: Number of images to run.
        device: Where to run it.
    """
    work = operations(backbone) * images
    run = runner(backbone, PLAIN_MODE, device)
    if work < MIN_OPERATIONS:
        return ChosenMode(PLAIN_MODE, run, {})
    few = pixels[:SAMPLE_IMAGES]
    want, cost = run(few), _seconds(run, few)
    best, tried = (PLAIN_MODE, run), {str(PLAIN_MODE): cost}
    for way in inference_modes(device, work):
        try:
            other = runner(backbone, way, device, len(pixels))
            error = relative_error(want, other(few))
        except Exception:  # noqa: BLE001, S112 - tracing and compiling fail in their own ways
            continue
        seconds = _seconds(other, pixels if way.compiled else few)
        if error <= TOLERANCE and seconds < min(tried.values()):
            best = (way, other)
        tried[str(way)] = seconds if error <= TOLERANCE else math.inf
    return ChosenMode(*best, tried)


def operations(backbone: Backbone) -> int:
    """Return the floating-point operations of an image."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - Triton with it

    side = backbone.preprocess.size
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        backbone.body(torch.zeros(1, 3, side, side, device=backbone.device))
    return counted.get_total_flops()


def _seconds(run: Run, pixels: Tensor) -> float:
    """Return seconds per image, the minimum of two runs: it is the least disturbed."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        run(pixels)
        times.append(time.perf_counter() - began)
    return min(times) / len(pixels)


def relative_error(want: dict[LevelName, Tensor], have: dict[LevelName, Tensor]) -> float:
    """Return the largest relative difference of a level, in length."""
    return max(
        float((have[s].float() - level.float()).norm() / level.float().norm())
        for s, level in want.items()
    )
