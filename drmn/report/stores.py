"""Feature stores on the terminal: list, check, export and pruning."""

import time
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from drmn.data.store import inventory
from drmn.data.store.feature_key import LAYOUT
from drmn.data.store.inventory import StoreInfo
from drmn.errors import ConfigError, DataError
from drmn.report.say import say


def show(console: Console, root: Path) -> None:
    """Print a line per store, the one used last first, and their total size."""
    found = inventory.list_stores(root)
    if not found:
        say(console, f"no feature store in {root}")
        return
    table = Table(box=None)
    for name in ("store", "images", "levels", "stored as", "size", "last used", ""):
        table.add_column(name, overflow="fold", justify="right" if name == "size" else "left")
    for kept in found:
        table.add_row(*_row(kept))
    console.print(table)
    say(console, f"{decimal(sum(kept.bytes for kept in found))} in {root}")


def _row(kept: StoreInfo) -> tuple[str, ...]:
    key = kept.key
    views = f" x {1 + key.views} views" if key.views else ""
    form = key.encoding if not key.fold else f"{key.encoding}, fold {key.fold}"
    return (
        kept.folder.name if kept.whole else key.folder,
        f"{kept.images:,}{views}",
        "+".join(map(str, key.levels)) + (" full" if key.maps == "full" else ""),
        form,
        decimal(kept.bytes),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.used)),
        "" if kept.whole else f"{100 * kept.done:.0f} % made",
    )


def verify(console: Console, root: Path) -> None:
    """Compare every byte with its digests; print a line per store.

    Raises:
        DataError: One is damaged.
    """
    from drmn.data.store import integrity  # noqa: PLC0415 - torch with it

    bad = []
    for kept in inventory.list_stores(root):
        if not kept.whole:
            continue
        if kept.key.layout != LAYOUT:
            say(console, f"{kept.folder.name}: an earlier version's, which nothing uses any more")
            continue
        damage = integrity.check(kept.folder).damage
        bad += [kept] * bool(damage)
        state = f"damaged: {integrity.summary(damage)}" if damage else "ok"
        say(console, f"{kept.folder.name}: {state}")
    if bad:
        raise DataError(
            f"{len(bad)} of the stores in {root} are damaged; the command that made a store makes "
            "its damaged shards again."
        )


def export(console: Console, place: Path, fold: int, file: Path) -> None:
    """Write a fold of a store into an HDF5 file; print what it holds.

    Raises:
        UserError: There is no such fold, or the file cannot be written.
    """
    from drmn.data.splits import export_hdf5 as exports  # noqa: PLC0415 - torch with it

    for note in exports.write_hdf5(file, place, fold):
        say(console, f"{file.name}: {note}")


def prune(console: Console, root: Path, size: str) -> None:
    """Remove stores until they take `size` at most; print those removed.

    Raises:
        ConfigError: `size` is no size.
    """
    try:
        most = TypeAdapter(ByteSize).validate_python(size)
    except ValidationError:
        raise ConfigError(f"--max-bytes {size}: not a size such as 20GB or 500MB.") from None
    for kept in inventory.prune(root, most):
        say(console, f"removed {kept.folder.name} ({decimal(kept.bytes)})")
    left = sum(kept.bytes for kept in inventory.list_stores(root))
    say(console, f"{decimal(left)} of {decimal(most)} in {root}")
    if left > most:
        say(console, "the rest is in use")
