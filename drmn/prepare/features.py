"""The feature store of a catalogue: found, made, resumed or repaired."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from drmn.data import specs
from drmn.data.feature_config import FeatureConfig
from drmn.data.images import decode
from drmn.data.images.catalogue import Catalogue
from drmn.data.images.decode import Photo
from drmn.data.store import build
from drmn.data.store.feature_store import FeatureKey, Maps
from drmn.data.store.layout import RowRange, StoreLayout
from drmn.io.progress import Progress, StartProgress, silent
from drmn.level_names import LevelName
from drmn.malloc import give_back_memory, keep_memory
from drmn.model import autotune
from drmn.model.backbone import Backbone
from drmn.model.extraction import device, extract, feature_key, keep_weights, ordered_photos
from drmn.prepare import compact
from drmn.prepare.datasets import KNOWN
from drmn.prepare.hdf5_features import Imported

Spread = Callable[
    [Backbone, Sequence[Photo], list[RowRange], dict[str, Any], Progress],
    Iterator[tuple[int, Maps]],
]
"""Extracts on other machines (`drmn.prepare.ray_extraction`); adds entries of the manifest."""


class Source(Protocol):
    """Source of a catalogue's features."""

    key: FeatureKey
    """Key of the store that holds them whole."""
    shapes: Mapping[LevelName, tuple[int, int]]
    """Regions and channels of each level by stride."""
    about: dict[str, Any]
    """Entries of the manifest about them; complete once all is filled."""

    def fill(self, spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        """Yield the maps of each span."""


def prepare(
    catalogue: Catalogue,
    config: FeatureConfig,
    root: Path,
    *,
    fold: int = 1,
    start: StartProgress = silent,
    waiting: Callable[[str], None] = lambda _: None,
    spread: Spread | None = None,
    backbone: Backbone | None = None,
    before: Callable[[], None] = lambda: None,
) -> Path:
    """Return the folder of the store for a catalogue's images; extracts what is not there yet.

    Args:
        catalogue: The images.
        config: Which features of them: a backbone's, or a file's.
        root: Where stores live.
        fold: Fold on whose training images scales or components are fitted.
        start: Starts the progress of the extraction.
        waiting: Called with the process that is making this very store, if another one is.
        spread: Extracts on a cluster; without it, this process does.
        backbone: Result of `backbone_for`, if it was called before the images were read.
        before: Called before any features are made; not if all are there.
    """
    if config.hdf5:
        source: Source = Imported(catalogue, Path(config.hdf5), root / KNOWN.name, start)
    else:
        body = backbone or backbone_for(catalogue.dataset, config)
        source = Extraction(catalogue, feature_key(catalogue, config, body), body, start, spread)
        keep_weights(root, source.key.weights, body)
    whole = partial(_whole, source, catalogue, root, start=start, waiting=waiting, before=before)
    if config.encoding == "bf16":
        return whole()
    catalogue.require_fold(fold)
    return compact.prepare(compact.key_of(source.key, config, fold), root, whole, start, waiting)


def _whole(
    source: Source,
    catalogue: Catalogue,
    root: Path,
    *,
    start: StartProgress,
    waiting: Callable[[str], None],
    before: Callable[[], None],
) -> Path:
    """Return the folder of the store of a source's maps as they are."""

    def fill(spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        before()
        yield from source.fill(spans)

    layout = StoreLayout(key=source.key, catalogue=catalogue, shapes=source.shapes)
    checking = start("checking")
    return build.build(root, layout, fill, about=source.about, waiting=waiting, checking=checking)


def backbone_for(dataset: str, config: FeatureConfig) -> Backbone:
    """Return the backbone for `config`'s whole features, at the image size for the dataset.

    Raises:
        UserError: There is no such model, level or file of weights.
    """
    size = config.image_size or specs.spec(dataset).image_size
    return Backbone(replace(config, image_size=size, encoding="bf16"))


class Extraction:
    """The maps that a backbone makes of a catalogue's images."""

    def __init__(
        self,
        catalogue: Catalogue,
        key: FeatureKey,
        backbone: Backbone,
        start: StartProgress,
        spread: Spread | None,
    ) -> None:
        self.backbone, self.key = backbone, key
        self.shapes: Mapping[LevelName, tuple[int, int]] = self.backbone.shapes()
        self.photos, self.start, self.spread = catalogue.photos(), start, spread
        self.about: dict[str, Any] = {}

    def fill(self, spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        """Yield the maps of each span."""
        if self.spread is not None:
            start = self.start("features")
            yield from self.spread(self.backbone, self.photos, spans, self.about, start)
            return
        keep_memory()
        batch = autotune.batch_of(self.backbone, spans[0].stop - spans[0].start)
        first = ordered_photos(self.photos, spans[0])[:batch]
        (pixels,) = decode.stream([first], self.backbone.preprocess)
        count = sum(span.stop - span.start for span in spans)
        chosen = autotune.autotune_backbone(self.backbone, pixels, count, device())
        self.about |= {"way": str(chosen.way), "seconds": chosen.seconds}
        yield from extract(
            self.photos,
            spans,
            self.backbone.preprocess,
            chosen.run,
            batch=batch,
            progress=self.start("features"),
        )
        give_back_memory()  # the search after it needs none of it
