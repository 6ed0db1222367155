"""The extraction of features from real photos, against what one would use instead.

ResNet-101 at 448 pixels, against a plain float32 timm loop with PIL, in CPU time, each run in a
process of its own; one process against two. Then reading stored maps against decoding photos and
running the cheapest backbone.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bars import Bar, arguments, finish
from machine import peak
from random_store import scratch, store
from real_data import SHARED, real_data
from torch import Tensor

from drmn.data.feature_config import FeatureConfig
from drmn.data.store import feature_store
from drmn.data.store.layout import RowRange
from drmn.malloc import keep_memory
from drmn.model import autotune
from drmn.model.backbone import Backbone

HERE = Path(__file__)
PHOTOS = SHARED / "cub2010_dev" / "CUB_200_2011" / "images"


def extract(way: str, backbone: str, size: int, images: int, file: str) -> None:
    """Run a backbone over real photos; print CPU and wall seconds an image, and save the maps."""
    paths = sorted(PHOTOS.rglob("*.jpg"))[:images]
    config = FeatureConfig(backbone=backbone, weights="auto", image_size=size, levels="32")
    if backbone != "tf_efficientnet_lite0":
        config = FeatureConfig(backbone=backbone, weights="random", image_size=size, levels="32")
    torch.set_num_threads(1)
    net = Backbone(config)
    maps, began = (_plainly if way == "plain" else _ours)(net, paths)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    torch.save(maps, file)
    print(json.dumps({"cpu": cpu / images, "wall": wall / images, "way": began[2]}))


Began = tuple[float, float, str]


def _plainly(net: Backbone, paths: list[Path]) -> tuple[Tensor, Began]:
    from PIL import Image  # noqa: PLC0415
    from torchvision import transforms  # noqa: PLC0415

    pre = net.preprocess
    see = transforms.Compose(
        [
            transforms.Resize(
                pre.size, interpolation=transforms.InterpolationMode(pre.interpolation)
            ),
            transforms.CenterCrop(pre.size),
            transforms.ToTensor(),
            transforms.Normalize(pre.mean, pre.std),
        ]
    )
    body = net.body.to(memory_format=torch.contiguous_format)
    began = (time.perf_counter(), time.process_time(), "plain")
    out = []
    with torch.no_grad():
        for start in range(0, len(paths), 8):
            batch = [see(Image.open(path).convert("RGB")) for path in paths[start : start + 8]]
            out.append(body(torch.stack(batch))[-1].flatten(2).transpose(1, 2))
    return torch.cat(out), began


def _ours(net: Backbone, paths: list[Path]) -> tuple[Tensor, Began]:
    from drmn.data.images.decode import Photo, stream  # noqa: PLC0415
    from drmn.model.extraction import extract as extracted  # noqa: PLC0415

    keep_memory()
    photos = [Photo(path) for path in paths]
    batch = autotune.batch_of(net, len(photos))
    (pixels,) = stream([photos[:batch]], net.preprocess)
    chosen = autotune.autotune_backbone(
        net, pixels, 11_788, torch.device("cpu")
    )  # as for all of CUB
    began = (time.perf_counter(), time.process_time(), str(chosen.way))
    made = extracted(photos, [RowRange(0, 0, len(paths))], net.preprocess, chosen.run, batch=batch)
    return torch.cat([maps[32] for _, maps in made]), began


def start(way: str, backbone: str, size: int, images: int, file: Path) -> "subprocess.Popen[str]":
    """Start an extraction."""
    command = [sys.executable, str(HERE), "extract", way, backbone, str(size), str(images)]
    return subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return what an extraction printed."""
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"an extraction ended with {process.returncode}")
    printed: dict[str, Any] = json.loads(out.splitlines()[-1])
    return printed


def extraction(quick: bool) -> tuple[dict[str, object], list[Bar]]:  # noqa: FBT001
    """Compare extractions of ResNet-101, one thread, interleaved."""
    images, repeats = (16, 1) if quick else (48, 3)
    asked = ("resnet101", 448, images)
    with TemporaryDirectory() as folder:
        file = Path(folder, "maps")
        runs: dict[str, list[dict[str, Any]]] = {"plain": [], "ours": []}
        for _ in range(repeats):
            for way, done in runs.items():
                done.append(result(start(way, *asked, file.with_suffix(f".{way}"))))
        cpu = {way: statistics.median(run["cpu"] for run in done) for way, done in runs.items()}
        plain, ours = (torch.load(file.with_suffix(f".{way}")) for way in ("plain", "ours"))
        error = float((ours - plain).norm() / plain.norm())
        alone = statistics.median(run["wall"] for run in runs["ours"])
        both = [start("ours", *asked, file.with_suffix(f".{i}")) for i in range(2)]
        pair = max(result(process)["wall"] for process in both)
    config = FeatureConfig(backbone="resnet101", weights="random", image_size=448, levels="32")
    work = autotune.operations(Backbone(config))
    least = {str(kind): work / peak(kind) for kind in (torch.float32, torch.bfloat16)}
    figures: dict[str, object] = {
        "resnet101 at 448, way chosen": runs["ours"][0]["way"],
        "resnet101 at 448, CPU s an image at this machine's peak of a product": {
            kind: round(seconds, 3) for kind, seconds in least.items()
        },
        "resnet101 at 448, CPU s an image, plain timm and PIL": round(cpu["plain"], 3),
        "resnet101 at 448, CPU s an image, ours": round(cpu["ours"], 3),
    }
    bars = [
        Bar("extraction, times less CPU than plain", cpu["plain"] / cpu["ours"], 5),
        Bar("extraction, relative difference", error, 0.01, least=False),
        Bar("extraction, two processes, times the speed of one", 2 * alone / pair, 1.7),
    ]
    return figures, bars


def against_backbone(quick: bool) -> tuple[dict[str, object], list[Bar]]:  # noqa: FBT001
    """Compare reading with decoding and running the cheapest backbone."""
    images = 64 if quick else 256
    with TemporaryDirectory(dir=scratch()) as folder:
        root = Path(folder)
        run = result(start("ours", "tf_efficientnet_lite0", 224, images, root / "maps"))
        maps = torch.load(root / "maps")
        level = feature_store.read(store(root, images, tuple(maps.shape[1:]))).levels[32]
        level.rows(torch.arange(images))
        began = time.process_time()
        for _ in range(20):
            for rows in torch.randperm(images).split(32):
                level.rows(rows)
        cpu = (time.process_time() - began) / (20 * images)
    figures: dict[str, object] = {
        "lite0 at 224, CPU ms an image, decoded and run": round(1e3 * run["cpu"], 2),
        "lite0 at 224, CPU ms an image, read": round(1e3 * cpu, 4),
    }
    return figures, [Bar("reading, times less CPU than lite0 on photos", run["cpu"] / cpu, 20)]


def main() -> None:
    """Compare both."""
    asked = arguments(__doc__ or "")
    real_data("cub2010_dev")
    torch.set_num_threads(1)
    keep_memory()  # as in the processes of trials
    figures, bars = against_backbone(asked.quick)
    more, of_extraction = extraction(asked.quick)
    finish(figures | more, bars + of_extraction, asked.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["extract"]:
        _, _, way_, backbone_, size_, images_, file_ = sys.argv
        extract(way_, backbone_, int(size_), int(images_), file_)
    else:
        main()
