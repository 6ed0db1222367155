"""What a training step of the head costs: CUB's shapes, a batch of 50, one thread, CPU seconds.

312 attributes on 2048 x 14 x 14 maps, as the peers were measured on their own public code. Steps
are those of `drmn.training.trainer`: forth, back and Adam, on maps in memory. The fraction of peak
is of this machine's best matrix product in the same run and precision. The SIT takes part in
training alone, so its step is shown for each reading and width.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from bars import Bar, arguments, finish
from machine import peak, timed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from drmn.config import ComputeConfig, ModelConfig, OptimConfig, RunConfig
from drmn.data.splits.development import Batch, Classes, Fold
from drmn.data.splits.division import SplitPart
from drmn.data.splits.epoch_rng import EpochRng
from drmn.malloc import keep_memory
from drmn.model.network import Scores
from drmn.training.autotune import TrainStepMode
from drmn.training.loop import build_head
from drmn.training.losses import total
from drmn.training.trainer import Trainer

AUTO = ComputeConfig()
BF16 = TrainStepMode("bf16")
PEERS = {
    "APN": 0.56,
    "GEM": 0.87,
    "DAZLE": 1.25,
    "MSDN": 1.27,
    "TransZero": 3.23,
    "TransZero++": 6.16,
}
"""CPU seconds of a step, measured on another machine of this size."""
MOST = {"no SIT, width 2048": 0.9, "SIT batch, width 512": PEERS["MSDN"]}
"""CPU seconds that a step may take."""
IMAGES, ATTRIBUTES, REGIONS, CHANNELS, SEEN, UNSEEN = 50, 312, 196, 2048, 150, 50


@dataclass(frozen=True)
class Maps:
    """Images whose maps are numbers of chance, kept in memory."""

    maps: Tensor
    labels: Tensor
    part: SplitPart = "train"

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def stream(self, parts: Sequence[Tensor], chance: EpochRng | None = None) -> Iterator[Batch]:
        """Yield the images at each part's positions."""
        del chance
        for part in parts:
            yield Batch({32: self.maps[part]}, self.labels[part])


def fold(images: int) -> Fold[Maps]:
    """Return CUB's classes with so many images."""
    chance = torch.Generator().manual_seed(0)
    signatures = F.normalize(torch.rand(SEEN + UNSEEN, ATTRIBUTES, generator=chance), dim=1)
    classes = Classes(
        names=tuple(map(str, range(SEEN + UNSEEN))),
        attributes=signatures,
        seen=torch.arange(SEEN + UNSEEN) < SEEN,
    )
    maps = torch.randn(images, REGIONS, CHANNELS, generator=chance).relu()
    made = Maps(maps, torch.randint(SEEN, (images,), generator=chance))
    return Fold(classes, made, made, made, "chance")


def trainer(data: Fold[Maps], compute: ComputeConfig = AUTO, **model: object) -> Trainer:
    """Return a training of a network of these settings on one batch."""
    config = RunConfig(
        model=ModelConfig(**{"levels": "32", "sit": "none", **model}),  # type: ignore[arg-type]
        optim=OptimConfig(lr=1e-4, epochs=1000, batch_size=len(data.train)),  # worth a test
        compute=compute,
    )
    made = Trainer(config, build_head(config, data.classes, {32: CHANNELS}), data)
    made.begin()
    return made


def naively(model: Any, regions: Tensor) -> Scores:
    """Score images by the equations as they stand in docs/paper.md, one attribute at a time."""
    block, scores = model.block, []
    regions = model.fusion({32: regions})
    mean = F.normalize(regions.mean(dim=1), dim=-1)
    for prototype in block.prototypes:
        where = (regions @ block.compare.T @ prototype).softmax(dim=-1)  # p_a W_1 v_r
        found = (where[:, :, None] * regions).sum(dim=1)
        asked = F.normalize(prototype, dim=0) + mean
        gate = torch.sigmoid(block.gate.widen(F.relu(block.gate.narrow(asked))))
        scores.append((found * gate) @ (model.predict.T @ prototype))
    return Scores(torch.stack(scores, dim=1), None, model.global_logits(regions.mean(dim=1)))


def equality(data: Fold[Maps], way: TrainStepMode) -> float:
    """Return the largest difference of scores, of the loss and of its gradient from the naive.

    The network computes them the way given, as timed; the naive form in float32.
    """
    config = RunConfig(model=ModelConfig(levels="32", sit="none"))
    model = build_head(config, data.classes, {32: CHANNELS}).train()
    results = []

    def timed_path() -> Scores:
        with way.applied(torch.device("cpu")):
            return model({32: data.train.maps}).each(torch.Tensor.float)

    for scored in (timed_path, lambda: naively(model, data.train.maps)):
        model.zero_grad()
        scores = scored()
        loss, _ = total(config.loss, config.model, scores, data.classes, data.train.labels)
        loss.backward()
        grads = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        results.append((scores.attributes.detach(), loss.detach()[None], grads))
    pairs = zip(*results, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def operations(made: Trainer) -> int:
    """Return the operations of a step's matrix products, forth and back."""
    with FlopCounterMode(display=False) as counted:
        made.epoch(1)
    return counted.get_total_flops()


def memory(images: int) -> None:
    """Print the MB that a joint step takes at its peak, beyond what the process held."""
    torch.set_num_threads(1)
    data = fold(images)
    plain = ComputeConfig(precision="fp32", attention="fused")
    made = trainer(data, plain, sit="joint", width=128, sit_heads=4)
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    made.epoch(1)
    print((_kilobytes("VmHWM") - before) / 1024)


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


def growth() -> tuple[float, float]:
    """Return the peak MB of a joint step of 8 and of 16 images."""
    command = [sys.executable, __file__, "memory"]
    small, large = (
        float(subprocess.run([*command, n], check=True, capture_output=True, text=True).stdout)
        for n in ("8", "16")
    )
    return small, large


def trainers(data: Fold[Maps]) -> dict[str, Trainer]:
    """Return what makes each of the steps that are compared."""
    made = {
        "no SIT, width 2048": trainer(data),
        "no SIT, width 512": trainer(data, width=512),
        "SIT batch, width 512": trainer(data, width=512, sit="batch"),
        "SIT batch, width 512, its own 256": trainer(data, width=512, sit="batch", sit_width=256),
        "SIT attr, width 512": trainer(data, width=512, sit="attr"),
        "SIT joint, width 512, its own 128": trainer(data, width=512, sit="joint", sit_width=128),
    }
    return made | {"no SIT, width 2048, float32": trainer(data, ComputeConfig(precision="fp32"))}


def main() -> None:
    """Time each step, interleaved."""
    asked = arguments(__doc__ or "")
    torch.set_num_threads(1)
    keep_memory()  # as GLIBC_TUNABLES does in the workers
    images, repeats = (8, 2) if asked.quick else (IMAGES, 5)
    steps = trainers(fold(images))
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    work = {name: operations(made) for name, made in steps.items()}  # warms up too
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, made in steps.items():
            times[name].append(timed(partial(made.epoch, 1)))
    figures: dict[str, object] = {
        f"peak of a product, {kind}, GFLOP/s": round(rate / 1e9) for kind, rate in peaks.items()
    }
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, made in steps.items():
        way = made.way
        share = work[name] / median[name] / peaks[way.precision]
        figures[name] = (
            f"{median[name]:.3f} CPU-s, {way.precision}, {way.attention}, "
            f"{work[name] / 1e9:.0f} GFLOP, {100 * share:.0f} % of peak"
        )
    figures |= {f"peer {name}, CPU-s, another machine": cost for name, cost in PEERS.items()}
    few = fold(4)
    figures["bf16, relative difference from the naive form"] = f"{equality(few, BF16):.2g}"
    small, large = growth()
    figures["joint, peak MB of 8 and 16 images"] = f"{small:.0f}, {large:.0f}"
    bars = [
        Bar("difference from the naive form", equality(few, TrainStepMode()), 1e-5, least=False),
        Bar("joint, memory of twice the tokens, times", large / small, 2.5, least=False),
    ]
    if asked.quick:
        figures["bars of CPU-s"] = f"skipped: they are of {IMAGES} images, these steps of {images}"
    else:
        bars += [
            Bar(f"{name}, CPU-s", median[name], most, least=False) for name, most in MOST.items()
        ]
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(int(sys.argv[2]))
    else:
        main()
