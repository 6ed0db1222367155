"""The feature store and the extraction, against what one would use instead.

Reading: random batches of 2048 x 7 x 7 bfloat16 maps, against numpy.memmap, safetensors, LMDB and
Parquet on the same bytes, warm and cold, interleaved. Extraction: ResNet-101 at 448 pixels on real
photos, against a plain float32 timm loop with PIL, in CPU time. Then: reading against decoding and
running the backbone, one process against two, four readers' memory, and AwA2's full maps (30 GB;
only with 40 GB of free disk and without --quick).
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lmdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from bars import Bar, arguments, finish
from machine import peak
from real_data import SHARED
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.store import feature_store
from drmn.data.store.build import build
from drmn.data.store.feature_store import FeatureKey, Maps
from drmn.data.store.layout import RowRange, StoreLayout
from drmn.malloc import keep_memory
from drmn.model import autotune
from drmn.model.backbone import Backbone

HERE = Path(__file__)
PHOTOS = SHARED / "cub2010_dev" / "CUB_200_2011" / "images"
SHAPE = (49, 2048)
ROW = 49 * 2048 * 2
AWA2 = 37_322
Read = Callable[[Tensor], Tensor]


def store(root: Path, images: int, shape: tuple[int, int]) -> Path:
    """Build a store of maps of chance."""
    key = FeatureKey(
        dataset="bench",
        catalogue=str(images),
        backbone="none",
        weights="none",
        image_size=0,
        preprocess="none",
        levels=(32,),
    )
    catalogue = Catalogue(
        dataset="bench",
        images=tuple(map(str, range(images))),
        digests=("",) * images,
        labels=np.zeros(images, dtype=np.int64),
        classes=("a",),
        attributes=np.ones((1, 1)),
        attribute_names=("a",),
        folds={1: ()},
    )
    chance = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))

    def fill(spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        for span in spans:
            rows = torch.arange(span.start, span.stop) % 64
            yield span.shard, {32: chance[rows] + span.shard}

    return build(root, StoreLayout(key=key, catalogue=catalogue, shapes={32: shape}), fill)


# Reading.


WAYS = ("ours", "numpy.memmap", "safetensors", "LMDB", "Parquet")


def write_peers(root: Path, place: Path) -> dict[str, Path]:
    """Write the bytes of a store as its peers hold them; return the file of each way."""
    level = feature_store.read(place).levels[32]
    count = level.shape[0]
    bits = np.lib.format.open_memmap(
        root / "maps.npy", mode="w+", dtype=np.uint16, shape=(count, *SHAPE)
    )
    environment = lmdb.open(str(root / "lmdb"), map_size=2 * bits.nbytes + (64 << 20))
    column = pa.schema([("maps", pa.list_(pa.uint16(), SHAPE[0] * SHAPE[1]))])
    with pq.ParquetWriter(root / "maps.parquet", column, compression="none") as parquet:
        for rows in torch.arange(count).split(64):
            part = level.rows(rows).view(torch.int16).numpy().view(np.uint16)
            bits[rows[0] : rows[-1] + 1] = part
            with environment.begin(write=True) as put:
                for row, values in zip(rows.tolist(), part, strict=True):
                    put.put(row.to_bytes(4, "big"), values.tobytes())
            flat = pa.FixedSizeListArray.from_arrays(part.ravel(), SHAPE[0] * SHAPE[1])
            parquet.write_batch(pa.record_batch([flat], schema=column))
    bits.flush()
    environment.close()
    tensor = torch.from_numpy(np.asarray(bits).view(np.int16)).view(torch.bfloat16)
    save_file({"maps": tensor}, root / "maps.safetensors")
    files = (place, *(root / f"maps.{kind}" for kind in ("npy", "safetensors")))
    return dict(zip(WAYS, (*files, root / "lmdb", root / "maps.parquet"), strict=True))


def reader(way: str, file: Path) -> Read:
    """Return what reads rows out of a file."""
    if way == "ours":
        return feature_store.read(file).levels[32].rows
    if way == "numpy.memmap":
        mapped = np.load(file, mmap_mode="r")
        return lambda rows: _bf16(mapped[rows.numpy()])
    if way == "safetensors":
        safe = safe_open(file, framework="pt").get_tensor("maps")
        return lambda rows: safe[rows]
    if way == "LMDB":
        environment = lmdb.open(str(file), readonly=True, lock=False)
        return lambda rows: _from_lmdb(environment, rows)
    table = pq.ParquetFile(file)
    return lambda rows: _from_parquet(table, rows)


def _bf16(bits: Any) -> Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def _from_lmdb(environment: Any, rows: Tensor) -> Tensor:
    out = np.empty((len(rows), *SHAPE), dtype=np.uint16)
    with environment.begin(buffers=True) as get:
        for i, row in enumerate(rows.tolist()):
            out[i] = np.frombuffer(get.get(row.to_bytes(4, "big")), np.uint16).reshape(SHAPE)
    return _bf16(out)


def _from_parquet(table: Any, rows: Tensor) -> Tensor:
    out = np.empty((len(rows), *SHAPE), dtype=np.uint16)
    for i, row in enumerate(rows.tolist()):
        group = table.read_row_group(row // 64)["maps"].combine_chunks()
        out[i] = group.slice(row % 64, 1).flatten().to_numpy().reshape(SHAPE)
    return _bf16(out)


def cool(file: Path) -> None:
    """Drop a file, or those of a folder, from the page cache; no process may have it mapped."""
    for part in [file] if file.is_file() else [f for f in file.iterdir() if f.is_file()]:
        handle = os.open(part, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def first_epoch(way: str, file: str, images: int, batch: int) -> None:
    """Print the images a second of a process's first epoch in random batches, the file opened."""
    keep_memory()
    torch.set_num_threads(1)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(batch))
    batches = order.split(batch)[: 4 if way == "Parquet" else None]
    read = reader(way, Path(file))
    began = time.perf_counter()
    for rows in batches:
        read(rows)
    print(sum(map(len, batches)) / (time.perf_counter() - began))


def reading(quick: bool) -> tuple[dict[str, object], list[Bar]]:  # noqa: FBT001
    """Return images a second of each way, warm and cold, and the bars."""
    images, repeats = (1_500, 20) if quick else (4_513, 60)
    figures: dict[str, object] = {}
    bars = []
    with TemporaryDirectory(dir=scratch()) as folder:
        files = write_peers(Path(folder), store(Path(folder), images, SHAPE))
        for batch in (32, 64):
            for state in (cold, warm):
                rate = state(files, images, batch, repeats)
                for name, value in rate.items():
                    speed_ = f"{value:,.0f} images/s, {value * ROW / 1e9:.2f} GB/s"
                    figures[f"{state.__name__}, batches of {batch}, {name}"] = speed_
                fastest = max(value for name, value in rate.items() if name != "ours")
                name = f"reading {state.__name__}, batches of {batch}, of the fastest"
                bars.append(Bar(name, rate["ours"] / fastest, 0.9))
    return figures, bars


def warm(files: dict[str, Path], images: int, batch: int, repeats: int) -> dict[str, float]:
    """Return images a second with all in the page cache, interleaved."""
    ways = {way: reader(way, file) for way, file in files.items()}
    for way, read in ways.items():  # all pages in, all checksums compared
        for rows in torch.arange(images if way != "Parquet" else 64).split(64):
            read(rows)
    times: dict[str, list[float]] = {way: [] for way in ways}
    chance = torch.Generator().manual_seed(batch)
    for turn in range(repeats):
        order = list(ways.items())
        for way, read in order[turn % len(order) :] + order[: turn % len(order)]:
            if way == "Parquet" and len(times[way]) >= 2:
                continue
            rows = torch.randperm(images, generator=chance)[:batch]
            began = time.perf_counter()
            read(rows)
            times[way].append(time.perf_counter() - began)
    return {way: batch / statistics.median(seconds) for way, seconds in times.items()}


def cold(files: dict[str, Path], images: int, batch: int, repeats: int) -> dict[str, float]:
    """Return images a second of a fresh process's first epoch, out of no cache, interleaved."""
    rates: dict[str, list[float]] = {way: [] for way in files}
    for _ in range(max(3, repeats // 12)):
        for way, file in files.items():
            if way == "Parquet" and rates[way]:
                continue
            cool(file)
            command = [sys.executable, str(HERE), "first", way, str(file), str(images), str(batch)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rates[way].append(float(told))
    return {way: statistics.median(values) for way, values in rates.items()}


# Extraction, each run in a process of its own.


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
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


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


# Memory.


def look(folder: str) -> None:
    """Read all of a store, then tell this process's share of the memory it lies in."""
    process = psutil.Process()
    level = feature_store.read(Path(folder)).levels[32]
    before = process.memory_full_info().pss
    for rows in torch.arange(level.shape[0]).split(64):
        level.rows(rows)
    print("read", flush=True)
    sys.stdin.readline()
    print(process.memory_full_info().pss - before, flush=True)
    sys.stdin.readline()


def shared_memory(quick: bool) -> tuple[dict[str, object], list[Bar]]:  # noqa: FBT001
    """Return what four readers take together, in stores."""
    images = 1_500 if quick else 4_513
    with TemporaryDirectory(dir=scratch()) as folder:
        place = store(Path(folder), images, SHAPE)
        command = [sys.executable, str(HERE), "look", str(place)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        four: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(4)]
        for process in four:
            process.stdout.readline()
        for process in four:
            print(file=process.stdin, flush=True)
        taken = [int(process.stdout.readline()) for process in four]
        for process in four:
            process.communicate("\n")
        size = (place / "level-32.arrow").stat().st_size
    figures: dict[str, object] = {
        "four readers, PSS MB together": round(sum(taken) / 1e6),
        "the store, MB": round(size / 1e6),
    }
    return figures, [Bar("four readers, copies of the store", sum(taken) / size, 1.5, least=False)]


def full_maps(images: int) -> tuple[dict[str, object], list[Bar]]:
    """Write and read AwA2's full maps; return what private memory that took."""
    process = psutil.Process()
    peak = [0]

    def private() -> int:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.split("RssAnon:")[1].split()[0])

    with TemporaryDirectory(dir=scratch()) as folder:
        before = private()
        began = time.perf_counter()
        place = store(Path(folder), images, (196, 2048))
        wrote = time.perf_counter() - began
        peak.append(private() - before)
        level = feature_store.read(place).levels[32]
        began, seen = time.perf_counter(), 0
        for rows in torch.randperm(images)[:4_000].split(32):
            level.rows(rows)
            seen += len(rows)
            peak.append(private() - before)
        read = time.perf_counter() - began
        size = (place / "level-32.arrow").stat().st_size
    figures: dict[str, object] = {
        "full maps, GB": round(size / 1e9, 1),
        "full maps, written and digested, GB/s": round(size / 1e9 / wrote, 2),
        "full maps, first random batches with their digests compared, images/s": round(seen / read),
        "full maps, process RSS MB with the page cache it maps": round(
            process.memory_info().rss / 1e6
        ),
    }
    return figures, [Bar("full maps, private MB at most", max(peak) / 1e6, 400, least=False)]


def scratch() -> Path:
    """Return a folder on a disk, not in memory, for what is measured cold."""
    place = HERE.parents[1] / "results" / "benchmarks"
    place.mkdir(parents=True, exist_ok=True)
    return place


def missing(part: str, reason: str) -> tuple[dict[str, object], list[Bar]]:
    """Return, for a part that cannot be measured here, a figure that says so and a bar not met."""
    return {f"{part}, left out": reason}, [Bar(f"{part}, measured", 0, 1)]


def main() -> None:
    """Run all comparisons."""
    asked = arguments(__doc__ or "")
    torch.set_num_threads(1)
    keep_memory()  # as in the processes of trials
    parts = [reading(asked.quick), shared_memory(asked.quick)]
    if PHOTOS.is_dir():
        parts += [against_backbone(asked.quick), extraction(asked.quick)]
    else:
        parts.append(missing("extraction from real photos", f"no {PHOTOS}: set DRMN_SHARED"))
    if shutil.disk_usage(scratch()).free > 40e9 and not asked.quick:
        parts.append(full_maps(AWA2))
    elif not asked.quick:
        parts.append(missing("AwA2's full maps", f"{scratch()} has less than 40 GB free"))
    figures = {name: value for part, _ in parts for name, value in part.items()}
    finish(figures, [bar for _, bars in parts for bar in bars], asked.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["extract"]:
        _, _, way_, backbone_, size_, images_, file_ = sys.argv
        extract(way_, backbone_, int(size_), int(images_), file_)
    elif sys.argv[1:2] == ["first"]:
        first_epoch(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1:2] == ["look"]:
        look(sys.argv[2])
    else:
        main()
