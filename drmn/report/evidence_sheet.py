"""A picture of each prediction: what is for it, what is against it, and where the network looks."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from drmn.data.images.pixels import decode_bytes
from drmn.data.splits.development import Classes
from drmn.errors import ConfigError
from drmn.tracking.model_package import Answer, Package
from drmn.visualization import labels as names
from drmn.visualization import sheet

PANELS = 5
"""Attributes of a row."""
LEGEND = (
    "A row for the attributes that add most to the cosine of photo and prediction, one for those "
    "that take most from it, and one for those that most favour the prediction over the second "
    "class. The warmer, the more the network looks there for the attribute."
)


def draw_evidence(
    package: Package, photo: Path, classes: Classes, folder: Path, number: int
) -> Path:
    """Draw the evidence for a photo's prediction into a new PNG of `folder`; return its path.

    Args:
        package: The packed network.
        photo: The photo.
        classes: The candidates.
        folder: Where the picture goes.
        number: Number of the photo, the first part of the picture's name: photos of different
            folders may have one name.

    Raises:
        ConfigError: The network has no dual attention, so it looks nowhere.
    """
    content = photo.read_bytes()
    maps = package.maps([content])
    looks = package.attention(maps)
    if looks is None:
        raise ConfigError("--evidence: this network has no dual attention, so it looks nowhere.")
    answer = package.answer(maps, classes)
    pixels = package.backbone.preprocess.crop()(decode_bytes(content))
    path = folder / f"{number:04d}-{photo.stem}.png"
    title = f"{photo.name}: {names.of_class(classes.names[int(answer.scores[0].argmax())])}"
    sheet.draw_sheet(path, _strips(answer, pixels, looks[0]), title, LEGEND)
    return path


def _strips(
    answer: Answer, pixels: Tensor, looks: Float[Tensor, "attr side side"]
) -> list[sheet.Strip]:
    """Return the rows of a photo: for, against, and why the first class and not the second."""
    classes, own = answer.classes, answer.attributes[0]
    order = answer.scores[0].argsort(descending=True).tolist()
    first, second = order[0], order[1] if len(order) > 1 else order[0]
    share = own * classes.attributes[first]
    apart = own * (classes.attributes[first] - classes.attributes[second])
    name = names.of_class(classes.names[first])
    kind = "seen" if classes.seen[first] else "unseen"
    other = names.of_class(classes.names[second])
    rows = [
        (f"{kind}: what is for it", sheet.RIGHT, share.argsort(descending=True), share),
        ("what is against it", sheet.WRONG, share.argsort(), share),
        (f"and not {other}", sheet.MUTED, apart.argsort(descending=True), apart),
    ]
    return [
        sheet.Strip(pixels, name, below, colour, _panels(classes, best, values, looks))
        for below, colour, best, values in rows
    ]


def _panels(classes: Classes, best: Tensor, values: Tensor, looks: Tensor) -> list[sheet.Panel]:
    return [
        sheet.Panel(
            names.of_attribute(classes.attribute_names[a]),
            f"{float(values[a]):+.3f} of the cosine",
            present=False,
            attention=looks[a],
        )
        for a in best[:PANELS].tolist()
        if torch.isfinite(looks[a]).all()
    ]
