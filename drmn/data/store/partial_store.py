"""An unfinished feature store: shards on the disk, and a journal of those that are done."""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from drmn.data.images import catalogue as catalogues
from drmn.data.store import encoding, integrity
from drmn.data.store.encoding import Raw
from drmn.data.store.feature_store import COMPONENTS, MANIFEST, SCALES, Maps, level_file
from drmn.data.store.journal import JOURNAL, PLAN, journal
from drmn.data.store.layout import StoreLayout
from drmn.data.store.shards import Shards, digest, lay_out
from drmn.errors import DataError
from drmn.io import atomic
from drmn.io.file_digest import tables
from drmn.level_names import LevelName


class PartialStore:
    """An unfinished store."""

    def __init__(self, folder: Path, plan: StoreLayout) -> None:
        self.folder, self.plan = folder, plan
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        about = {"key": asdict(plan.key), "rows": plan.rows, "shards": len(plan.spans())}
        atomic.write(folder / PLAN, json.dumps(about))
        self._check_space()
        self.levels = {stride: self._level(stride) for stride in plan.shapes}
        # Shards of refitted scales or components are rewritten: that takes no backbone.
        self.fitted = bool(plan.forms or plan.components)
        said = {} if self.fitted else journal(folder)
        self.done = {shard: d for shard, d in said.items() if self._is_there(shard, d)}
        self._rewrite_journal()

    def _is_there(self, shard: int, digests: integrity.Digests) -> bool:
        return shard < len(self.plan.spans()) and all(
            level.digest(shard) == digests.get(str(stride)) for stride, level in self.levels.items()
        )

    def _check_space(self) -> None:
        need = self.plan.rows * self.plan.row_bytes
        have = sum(file.stat().st_blocks * 512 for file in self.folder.glob("level-*.arrow"))
        free = shutil.disk_usage(self.folder).free
        if need - have > free:
            raise DataError(
                f"{self.folder.parent}: the features need {need / 1e9:.1f} GB and {free / 1e9:.1f} "
                "GB are free; make room (jobs/prepare.py --prune --max-bytes), or store less "
                "(--levels, --maps pooled, --encoding int8)."
            )

    def _level(self, stride: LevelName) -> Shards:
        path, plan = level_file(self.folder, stride), self.plan
        shape, dtype = plan.shapes[stride], plan.form(stride).dtype
        try:
            level = Shards(path)
        except DataError:
            level = None
        want = (plan.rows, *shape), min(plan.per_shard, plan.rows)
        if level is None or (level.shape, len(level.parts[0])) != want:
            lay_out(path, rows=plan.rows, per_shard=plan.per_shard, shape=shape, dtype=dtype)
            level = Shards(path)
        return level

    def _rewrite_journal(self) -> None:
        lines = "".join(line(shard, digests) for shard, digests in self.done.items())
        atomic.write(self.folder / JOURNAL, lines)

    def adopt(self, place: Path, health: integrity.IntegrityReport) -> None:
        """Copy the intact shards of a damaged store, which is not changed: trials may read it."""
        if self.fitted or not health.shards:
            return
        old = {stride: Shards(level_file(place, stride)) for stride in self.levels}
        if any(old[s].shape != level.shape for s, level in self.levels.items()):
            return
        for shard in health.shards.keys() - self.done.keys():
            self._add(shard, {stride: level.parts[shard] for stride, level in old.items()})

    def put(self, shard: int, maps: Maps) -> None:
        """Write the rows of a shard into every level, then add it to the journal."""
        self._add(shard, {s: self.plan.form(s).encode(maps[s]) for s in self.levels})

    def _add(self, shard: int, rows: Mapping[LevelName, Raw]) -> None:
        digests = {}
        for stride, level in self.levels.items():
            raw = rows[stride]
            if raw.shape != level.parts[shard].shape:
                raise ValueError(f"level {stride}: {raw.shape} for shard {shard}")
            self._write(level.path, raw.data, level.offsets[shard])
            digests[str(stride)] = digest(raw)
        self.done[shard] = digests
        with (self.folder / JOURNAL).open("a") as file:
            file.write(line(shard, digests))
            file.flush()
            os.fsync(file.fileno())

    def _write(self, path: Path, data: memoryview, offset: int) -> None:
        try:
            with path.open("rb+") as file:
                file.seek(offset)
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"{path}: the disk is full; {len(self.done)} of {len(self.plan.spans())} shards "
                "are kept: make room, and the same command resumes it."
            ) from None

    def publish(self, place: Path, about: Mapping[str, Any]) -> None:
        """Add the tables and the manifest, and rename the folder to the store's name."""
        folder, plan = self.folder, self.plan
        catalogues.write(folder, plan.catalogue)
        encoding.save(folder / SCALES, plan.forms)
        if plan.components:
            save_file(dict(plan.components), folder / COMPONENTS)
        shards = sorted(self.done)
        if len(shards) != len(plan.spans()):
            raise ValueError(f"{len(shards)} of {len(plan.spans())} shards were filled")
        manifest: dict[str, Any] = {
            "key": asdict(plan.key),
            "images": len(plan.catalogue.images),
            "rows": plan.rows,
            "per_shard": plan.per_shard,
            "shapes": {str(stride): list(shape) for stride, shape in plan.shapes.items()},
            "made": dict(about),
            "files": tables(folder),
            "shards": {str(s): [self.done[i][str(s)] for i in shards] for s in plan.shapes},
        }
        for name in manifest["files"]:
            atomic.sync(folder / name)
        atomic.write(folder / MANIFEST, json.dumps(manifest, indent=1))
        atomic.put_in_place(folder, place)
        for name in (JOURNAL, PLAN):
            (place / name).unlink()


def line(shard: int, digests: integrity.Digests) -> str:
    """Return the journal's line for a finished shard."""
    return json.dumps({"shard": shard, "digests": dict(digests)}) + "\n"
