"""A sheet of evidence: a row per image, its photo and then the attention maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, UInt8
from torch import Tensor

from drmn.visualization.canvas import Canvas, Pixels, Point

SIDE, GAP, MARGIN = 200, 14, 24
NARROWEST = 600
"""Minimum width of a sheet in pixels, for its title."""
CAPTION = 60
"""Pixels above each picture: two lines of a name and one below them."""
WIDE = 25
"""Letters of a name on a line."""
RIGHT, WRONG, MUTED = "#1a7f37", "#c62828", "#666666"
COLD, WARM = np.array([255.0, 210.0, 0.0]), np.array([225.0, 0.0, 20.0])
"""Colours of the heat, from little to much attention."""
LUMA = torch.tensor([0.299, 0.587, 0.114])
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Attention map of an attribute."""

    attribute: str
    below: str
    """Line below the attribute's name."""
    present: bool
    """Whether it has a tick: the image's true class has the attribute."""
    attention: Float[Tensor, "side side"]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """An image, its prediction, and the evidence for it."""

    photo: UInt8[Tensor, "3 size size"]
    label: str
    below: str
    """Line below the label."""
    colour: str
    """Colour of that line."""
    panels: Sequence[Panel]


def overlay(
    photo: UInt8[Tensor, "3 size size"], attention: Float[Tensor, "side side"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Return the photo in pale grey with attention as heat, full where it is greatest.

    Heat is proportional to attention, so a network with uniform attention gives uniform heat.
    """
    size = photo.shape[-1]
    fine = F.interpolate(attention[None, None], (size, size), mode="bilinear")[0, 0]
    heat = (fine / fine.max()).numpy()[..., None]
    grey = (photo.float() * LUMA[:, None, None]).sum(dim=0).numpy()[..., None]
    pale = 85 + grey * 2 / 3  # in 85..255: heat shows on dark photos too
    thick = 0.8 * heat
    mixed = (1 - thick) * pale + thick * (COLD + heat * (WARM - COLD))
    return mixed.round().astype(np.uint8)


def size_of(strips: Sequence[Strip], legend: str) -> tuple[int, int]:
    """Return the width and height of the sheet in pixels."""
    columns = 1 + max(len(strip.panels) for strip in strips)
    pictures = 2 * MARGIN + columns * (SIDE + GAP)  # the gap after the photo is twice as wide
    width = max(pictures, NARROWEST)
    height = _head(width, legend) + len(strips) * (CAPTION + SIDE + GAP) + MARGIN - GAP
    return width, height


def draw_sheet(path: Path, strips: Sequence[Strip], title: str, legend: str) -> None:
    """Write the sheet as a PNG."""
    width, height = size_of(strips, legend)
    page = Canvas(width, height)
    page.text((MARGIN, MARGIN), _cut(title, (width - 2 * MARGIN) // 13), size=20, bold=True)
    page.text((MARGIN, MARGIN + 32), "\n".join(_lines(width, legend)), size=13, colour=MUTED)
    top = _head(width, legend)
    for number, strip in enumerate(strips):
        _strip(page, top + number * (CAPTION + SIDE + GAP), strip)
    page.save(path)


def _lines(width: int, legend: str) -> list[str]:
    return wrap(legend, (width - 2 * MARGIN) // 7)  # letters of 13 pixels are 6 to 7 wide


def _head(width: int, legend: str) -> int:
    return MARGIN + 32 + 17 * len(_lines(width, legend)) + 16


def _strip(page: Canvas, top: int, strip: Strip) -> None:
    _caption(page, (MARGIN, top), strip.label, strip.below, strip.colour)
    page.image((MARGIN, top + CAPTION), SIDE, _rows_first(strip.photo))
    for number, panel in enumerate(strip.panels, start=1):
        x = MARGIN + GAP + number * (SIDE + GAP)
        _caption(page, (x, top), panel.attribute, panel.below, MUTED)
        page.image((x, top + CAPTION), SIDE, overlay(strip.photo, panel.attention))
        if panel.present:
            corner = (x + SIDE - 22, top + CAPTION + 9)
            page.text(corner, "✓", size=13, colour="white", bold=True, badge=RIGHT)


def _caption(page: Canvas, at: Point, name: str, below: str, colour: str) -> None:
    """Put a name of at most two lines and a line below it, right above a picture."""
    x, foot = at[0], at[1] + CAPTION
    lines = _two_lines(name)
    page.text((x, foot - 23 - 16 * len(lines)), "\n".join(lines), bold=True)
    page.text((x, foot - 19), _cut(below, 33), size=11, colour=colour)


def _cut(text: str, letters: int) -> str:
    return "".join(wrap(text, letters, max_lines=1, placeholder=" …"))


def _two_lines(name: str) -> list[str]:
    """Return a name on one line, or broken after its colon if it has one, or where it must be."""
    parts = [name] if len(name) <= WIDE else name.replace(": ", ":\n", 1).split("\n")
    most = 3 - len(parts)
    return [line for part in parts for line in wrap(part, WIDE, max_lines=most, placeholder=" …")]


def _rows_first(photo: UInt8[Tensor, "3 size size"]) -> Pixels:
    return photo.permute(1, 2, 0).numpy()
