"""The feature store against what one would use instead.

Reading: random batches of 2048 x 7 x 7 bfloat16 maps, against numpy.memmap, safetensors, LMDB and
Parquet on the same bytes, warm and cold, interleaved. Memory: four readers', and AwA2's full maps
(30 GB; only with 40 GB of free disk and without --quick).
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from bars import Bar, arguments, finish
from random_store import SHAPE, scratch, store
from store_peers import reader, write_peers

from drmn.data.store import feature_store
from drmn.malloc import keep_memory

HERE = Path(__file__)
ROW = SHAPE[0] * SHAPE[1] * 2
AWA2 = 37_322


# Reading.


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
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rates[way].append(float(printed))
    return {way: statistics.median(values) for way, values in rates.items()}


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


def main() -> None:
    """Run all comparisons."""
    asked = arguments(__doc__ or "")
    torch.set_num_threads(1)
    keep_memory()  # as in the processes of trials
    parts = [reading(asked.quick), shared_memory(asked.quick)]
    if shutil.disk_usage(scratch()).free > 40e9 and not asked.quick:
        parts.append(full_maps(AWA2))
    elif not asked.quick:
        short: dict[str, object] = {
            "AwA2's full maps, left out": f"{scratch()} has less than 40 GB free"
        }
        parts.append((short, [Bar("AwA2's full maps, measured", 0, 1)]))
    figures = {name: value for part, _ in parts for name, value in part.items()}
    finish(figures, [bar for _, bars in parts for bar in bars], asked.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        first_epoch(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1:2] == ["look"]:
        look(sys.argv[2])
    else:
        main()
