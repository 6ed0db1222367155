"""A data root that is no folder: `s3://bucket/place` and the like, copied to the disk once.

Only files that changed since are copied again, by their size and time; those removed there are
removed here. pyarrow reads the store and finds passwords where its client does, not in the URI.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from drmn.errors import ConfigError, DataError
from drmn.fields import refuse_password
from drmn.io import atomic
from drmn.io.progress import Progress

LISTING = "listing.json"
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
"""Places of the keys of S3."""
REMEDIES = {
    "ACCESS_DENIED|ACCESS_KEY|SIGNATURE|CLIENT_TOKEN|HTTP status: 40[13]|[Cc]redentials": (
        f"put keys that may read it into {KEYS}"
    ),
    "NETWORK_CONNECTION|resolve host": "see that this machine reaches the store",
    "NO_SUCH_BUCKET|HTTP status: 404|[Nn]ot found|does not exist|no files": (
        "give a bucket, and a place in it, that there is"
    ),
}
"""What to do about an error, by words in it."""
AT_ONCE = 8
"""Files that are copied in parallel: mostly small photos, so latency is what takes time."""


def local(root: str, cache: Path, hear: Progress) -> Path:
    """Return a folder on this machine that has the files of `root`.

    Args:
        root: A folder, or a URI of one: file://, s3://, gs://, hdfs://.
        cache: Folder for the copied files.
        hear: Called with how many files are copied, of how many.

    Raises:
        ConfigError: The URI is of an unknown kind of store, or holds a password.
        DataError: The store cannot be read, or has no files there.
    """
    if "://" not in root:
        return Path(root)
    refuse_password("--data-root", root, KEYS)
    try:
        store, base = FileSystem.from_uri(root)
    except OSError as problem:  # it asks S3 for the bucket's region
        raise _unreadable(root, problem) from None
    except (ArrowException, ValueError) as problem:
        raise ConfigError(f"--data-root {root}: {problem}; give a folder or s3://….") from None
    if isinstance(store, LocalFileSystem):
        return Path(base)
    place = cache / hashlib.sha256(root.encode()).hexdigest()[:12]
    place.mkdir(parents=True, exist_ok=True)
    with atomic.alone(place / "lock"):
        try:
            _bring(store, base, place, hear)
        except OSError as problem:
            raise _unreadable(root, problem) from None
    return place / "files"


def _unreadable(root: str, problem: OSError) -> DataError:
    reason = str(problem).splitlines()[0].rstrip(".")
    known = (remedy for words, remedy in REMEDIES.items() if re.search(words, reason))
    remedy = next(known, "see that the store is there and lets you in")
    return DataError(f"--data-root {root}: it cannot be read ({reason}); {remedy}.")


def _bring(store: FileSystem, base: str, place: Path, hear: Progress) -> None:
    there = _listing(store, base)
    if not there:
        raise OSError("there are no files")
    if out := [name for name in there if ".." in name.split("/")]:
        raise OSError(f"a file is called {out[0]}")
    known = _known(place)
    files = place / "files"
    for name in known.keys() - there.keys():
        (files / name).unlink(missing_ok=True)
    wanted = [n for n in there if known.get(n) != there[n] or not (files / n).is_file()]

    def fetch(name: str) -> None:
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_name(f".{path.name}.part")
        copy_files(f"{base}/{name}", str(building), store, LocalFileSystem(), use_threads=False)
        building.replace(path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(fetch, wanted), 1):
            hear(done, len(wanted))
    atomic.write(place / LISTING, json.dumps(there))


def _listing(store: FileSystem, base: str) -> dict[str, list[int]]:
    """Return the size and time of each file below `base`, by its name there."""
    found: list[FileInfo] = store.get_file_info(FileSelector(base, recursive=True))
    return {
        info.path.removeprefix(base).lstrip("/"): [info.size, info.mtime_ns or 0]
        for info in found
        if info.type == FileType.File
    }


def _known(place: Path) -> Mapping[str, list[int]]:
    path = place / LISTING
    return json.loads(path.read_text()) if path.is_file() else {}
