"""The datasets: a row each, with the published counts that a reader checks on opening."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from drmn.config import DatasetName
from drmn.data.demo import dataset
from drmn.errors import ConfigError
from drmn.fields import did_you_mean

Naming = Literal["folder", "nested", "boxes"]
Layout = Literal["xlsa17", "class-folders"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """Names and contents of a dataset's published files."""

    name: str
    folder: str
    """The sub-folder of xlsa17/data."""
    markers: tuple[str, ...]
    """The folders that hold the images: paths are resolved by what follows one of them."""
    images: int
    attributes: int
    seen: int
    """Classes with training images."""
    unseen: int
    """Classes known by their attributes alone."""
    layout: Layout = "xlsa17"
    """How its files are laid out: the official split files, or a folder for each class."""
    rendered: bool = False
    """Whether it is drawn if it is missing: it needs no files."""
    image_size: int = 224
    """Pixels a side that suit the images and a frozen backbone."""
    attribute_files: tuple[str, ...] = ()
    """Files that may hold the attributes' names, below the data root."""
    naming: Naming = "folder"
    """How an image's path gives its class: by its folder; nested by letter and sub-class
    (a/airport/airport), as SUN's do; or not at all, as aPY's, whose photos show several objects
    and come with a table of boxes."""
    digests: dict[str, str] = field(default_factory=dict)
    """First 16 hex digits of SHA-256 over each split's sorted 1-based indices (little-endian
    int64), for a set of the published size."""

    @property
    def classes(self) -> int:
        """All classes, seen and unseen."""
        return self.seen + self.unseen


# Counts and digests of the "proposed split" of Xian et al., arXiv:1707.00600.
CUB = DatasetSpec(
    name="cub",
    folder="CUB",
    markers=("images",),
    images=11_788,
    attributes=312,
    seen=150,
    unseen=50,
    attribute_files=("CUB_200_2011/attributes/attributes.txt", "attributes.txt"),
    digests={
        "trainval": "0aa3e143deb1fbe6",
        "test_seen": "09a266fec3703bb9",
        "test_unseen": "0b41c1b3ca6542ea",
        "train": "f90a78fe09d0c858",
        "val": "87774e1e8d29e349",
    },
)
SUN = DatasetSpec(
    name="sun",
    folder="SUN",
    markers=("images",),
    images=14_340,
    attributes=102,
    seen=645,
    unseen=72,
    attribute_files=("SUNAttributeDB/attributes.mat", "attribute_names/SUN_attributes.mat"),
    naming="nested",
    digests={
        "trainval": "1ac03d28b4a4a7a3",
        "test_seen": "fd181e6505f29990",
        "test_unseen": "37efd35c04716168",
        "train": "18ca0e0385a87331",
        "val": "a401635e72450c8a",
    },
)
AWA2 = DatasetSpec(
    name="awa2",
    folder="AWA2",
    markers=("JPEGImages",),
    images=37_322,
    attributes=85,
    seen=40,
    unseen=10,
    attribute_files=("Animals_with_Attributes2/predicates.txt",),
    digests={
        "trainval": "02d6d4d8e81f6767",
        "test_seen": "6a1ae1a80e31ed01",
        "test_unseen": "a5086697b526ea2f",
        "train": "cea270182d6dd758",
        "val": "db4ad0faba8b5cbc",
    },
)
# Counts of the same publication; no copy of its split files was at hand to take digests from.
APY = DatasetSpec(
    name="apy",
    folder="APY",
    markers=("JPEGImages", "ayahoo_test_images"),
    images=15_339,
    attributes=64,
    seen=20,
    unseen=12,
    attribute_files=("attribute_data/attribute_names.txt",),
    naming="boxes",
)

# Rendered, not read: what `drmn.data.demo.dataset` draws.
DEMO = DatasetSpec(
    name="demo",
    folder=dataset.NAME,
    markers=("images",),
    images=dataset.IMAGES,
    attributes=dataset.ATTRIBUTES,
    seen=dataset.CLASSES - dataset.UNSEEN,
    unseen=dataset.UNSEEN,
    rendered=True,
    image_size=160,
    attribute_files=(f"{dataset.NAME}/attributes.txt",),
)

# A user's own folder, described by its files: there are no published counts to check.
OWN = DatasetSpec(
    name="own",
    folder="",
    markers=("images",),
    images=0,
    attributes=0,
    seen=0,
    unseen=0,
    layout="class-folders",
)

SPECS: Mapping[DatasetName, DatasetSpec] = {
    "apy": APY,
    "awa2": AWA2,
    "cub": CUB,
    "demo": DEMO,
    "own": OWN,
    "sun": SUN,
}
"""The datasets of `--dataset`."""


def spec(name: str) -> DatasetSpec:
    """Return the row called `name`."""
    known = {str(key): value for key, value in SPECS.items()}
    if name not in known:
        raise ConfigError(f"Unknown dataset {name!r}.{did_you_mean(name, known)}")
    return known[name]
