"""Attention maps of a network, drawn for the same images each time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from drmn.data.images.catalogue import Catalogue
from drmn.data.images.decode import Preprocess, load, photos
from drmn.data.splits.development import Development, Split
from drmn.errors import DataError
from drmn.evaluation.ensemble import Rule
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.visualization import labels as names
from drmn.visualization import sheet
from drmn.visualization.evidence import PLAIN_RULE, Evidence, evidence, has, strongest_attributes

LEGEND = (
    "On the left the photo and what it was taken for. On the right {which}: the warmer, the more "
    "the network looks there for it. A tick in a corner says that the true class has it."
)
STRONGEST, MAX_ATTRIBUTES = (
    "the attributes that add most to that answer",
    "the attributes that were named",
)


class AttentionFigure:
    """Draws attention maps: created once for some images, used for any number of networks.

    Without names it takes validation images of classes that training does not see, each of another
    class, the same ones whatever the network, the seed and the epoch: pictures can be compared.

    Args:
        data: The fold.
        catalogue: Catalogue of the store, which names its images.
        preprocess: The backbone's input transform (`Backbone.preprocess`).
        files: Path of each image, by its name: only a catalogue of `open_dataset` has them
            (`Catalogue.places`).
        images: Names of development images to draw, instead.
        attributes: Names of the attributes to draw; by default those that add most to the answer.
        count: How many images, where none is named.
        most: How many attributes, where none is named.

    Raises:
        ConfigError: There is no image or attribute of a name.
        DataError: The file of an image is gone or damaged.
    """

    def __init__(
        self,
        data: Development,
        catalogue: Catalogue,
        preprocess: Preprocess,
        files: Mapping[str, Path],
        *,
        images: Sequence[str] = (),
        attributes: Sequence[str] = (),
        count: int = 4,
        most: int = 5,
    ) -> None:
        self.classes, self.most = data.classes, most
        self.attributes = names.class_places("attribute", attributes, data.classes.attribute_names)
        self.rows = names.class_places("image", images, catalogue.images) or some(
            data.val_unseen, catalogue.images, count
        )
        self.split = _split(data, self.rows)
        self.pixels = _pixels(catalogue, self.rows, preprocess, files)
        self.normal = preprocess.normal()(self.pixels)
        self.maps = self.split.maps(self.split.rows)

    def draw(
        self,
        model: DRMN,
        path: Path,
        *,
        scale: float,
        rule: Rule = PLAIN_RULE,
        title: str = "Where the network looks",
        backbone: Backbone | None = None,
    ) -> Path | None:
        """Draw into the file `path`; return it, or None if the model has no dual attention.

        Args:
            model: A trained network; it is left as it was.
            path: Path of a PNG, in a folder that is created if need be.
            scale: Scale of the logits, `model.scale`.
            rule: How classes are scored; without it seen ones are predicted too often.
            title: Title above the picture.
            backbone: A fine-tuned backbone to compute the maps; by default the store's are used.
        """
        maps = self.maps if backbone is None else backbone(self.normal)
        found = evidence(model, maps, self.classes, scale=scale, rule=rule)
        if found is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        legend = LEGEND.format(which=MAX_ATTRIBUTES if self.attributes else STRONGEST)
        sheet.draw_sheet(path, self.strips(found), title, legend)
        return path

    def strips(self, found: Evidence) -> list[sheet.Strip]:
        """Return the content of each image's row."""
        chosen = strongest_attributes(found.shares, self.most).tolist()
        classes = [names.of_class(name) for name in self.classes.names]
        strips = []
        for i, label in enumerate(self.split.labels.tolist()):
            answer = int(found.answers[i])
            right = answer == label
            verdict = "✓ recognised" if right else f"✗ taken for {classes[answer]}"
            panels = [self._panel(found, i, a) for a in self.attributes or chosen[i]]
            colour = sheet.RIGHT if right else sheet.WRONG
            strips.append(sheet.Strip(self.pixels[i], classes[label], verdict, colour, panels))
        return strips

    def _panel(self, found: Evidence, image: int, attribute: int) -> sheet.Panel:
        label = self.split.labels[image]
        return sheet.Panel(
            names.of_attribute(self.classes.attribute_names[attribute]),
            f"score {found.scores[image, attribute]:.2f}, "
            f"{found.shares[image, attribute]:.0%} of the answer",
            bool(has(self.classes.attributes)[label, attribute]),
            found.attention[image, attribute],
        )


def some(split: Split, images: Sequence[str], count: int) -> list[int]:
    """Return rows of `count` images of different classes: by hashed names, so always the same."""
    pairs = zip(split.rows.tolist(), split.labels.tolist(), strict=True)
    first: dict[int, int] = {}
    for row, label in sorted(pairs, key=lambda p: hashlib.sha256(images[p[0]].encode()).digest()):
        first.setdefault(label, row)
    return list(first.values())[:count]


def _split(data: Development, rows: Sequence[int]) -> Split:
    """Return these rows of the store, whatever their part: they are only drawn."""
    parts = (data.train, data.val_seen, data.val_unseen)
    label = {r: c for p in parts for r, c in zip(p.rows.tolist(), p.labels.tolist(), strict=True)}
    labels = torch.tensor([label[row] for row in rows])
    return replace(data.val_unseen, rows=torch.tensor(rows), labels=labels)


def _pixels(
    catalogue: Catalogue, rows: Sequence[int], preprocess: Preprocess, files: Mapping[str, Path]
) -> UInt8[Tensor, "image 3 size size"]:
    """Return the backbone's input for these images, before normalisation."""
    shown = [catalogue.images[row] for row in rows]
    lost = [name for name in shown if name not in files]
    if lost:
        raise DataError(f"{catalogue.dataset}: it is not known where the image {lost[0]} lies.")
    boxes = None if catalogue.boxes is None else catalogue.boxes[rows]
    crop = preprocess.crop()
    found = photos([files[name] for name in shown], boxes, shown)
    return torch.stack([crop(load(photo.file, photo.box)) for photo in found])
