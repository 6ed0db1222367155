"""Surroundings of a creature of the demo set, and the colours and outlines of all drawings.

Nothing here depends on an attribute.
"""

import colorsys
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIZE = 160
"""Pixels along a side of a picture."""
FINE = 2 * SIZE  # drawn at twice the size, for smooth edges

Polygon: TypeAlias = NDArray[np.float64]
Joint: TypeAlias = tuple[float, float]
Rng: TypeAlias = np.random.Generator

PALETTE = ("red", "yellow", "green", "blue", "violet")
PAINTS = {  # hue, saturation, value
    "red": (0.99, 0.80, 0.85),
    "yellow": (0.14, 0.80, 0.95),
    "green": (0.36, 0.75, 0.62),
    "blue": (0.58, 0.80, 0.85),
    "violet": (0.78, 0.60, 0.75),
    "orange": (0.07, 0.90, 0.95),
    "black": (0.65, 0.30, 0.18),
    "white": (0.12, 0.03, 0.97),
    "cream": (0.12, 0.18, 0.98),
    "coral": (0.95, 0.55, 0.98),
    "leaf": (0.28, 0.55, 0.50),
}
STONES, COVERED = 0.7, 0.3  # shares: of stones in the clutter, of creatures behind a leaf
GROUNDS = ((0.24, 0.22, 0.80), (0.11, 0.25, 0.82), (0.55, 0.18, 0.86), (0.05, 0.15, 0.72))
GRAIN = np.random.default_rng(0).normal(0, 7, (2 * SIZE, 2 * SIZE, 3)).astype(np.float32)


def ground(rng: Rng) -> Image.Image:
    """Start a picture with nothing but its background."""
    image = Image.new("RGB", (FINE, FINE), tinted(GROUNDS[rng.integers(len(GROUNDS))], rng))
    _clutter(ImageDraw.Draw(image), rng)
    return image


def polygon(draw: ImageDraw.ImageDraw, points: Polygon, colour: tuple[int, ...]) -> None:
    """Fill an outline, with a darker rim."""
    corners = points.ravel().tolist()
    draw.polygon(corners, fill=colour)
    draw.line(corners + corners[:2], fill=tuple(channel // 2 for channel in colour), width=3)


def tinted(hsv: tuple[float, float, float], rng: Rng) -> tuple[int, ...]:
    """Turn a colour into bytes, a little off as no two animals are the same."""
    hue, saturation, value = np.array(hsv) + rng.normal(0, (0.015, 0.06, 0.05))
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return tuple(int(255 * channel) for channel in rgb)


def _clutter(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    for x, y in rng.uniform(0, FINE, (rng.integers(8, 20), 2)):
        kind, name = (STONE, rng.choice(PALETTE)) if rng.random() < STONES else (TUFT, "leaf")
        polygon(draw, kind * rng.uniform(10, 34) + np.array((x, y)), tinted(PAINTS[name], rng))


def cover(draw: ImageDraw.ImageDraw, place: Polygon, rng: Rng) -> None:
    """Hide a little of some creatures behind a leaf."""
    hidden, spot = rng.random() < COVERED, rng.uniform((-1.4, -1.2), (1.6, 1.2))
    leaf = LEAF @ moved((0, 0), rng, spread=2.0)[:2, :2] + spot
    if hidden:
        polygon(draw, leaf @ place[:2, :2] + place[2, :2], tinted(PAINTS["leaf"], rng))


def moved(joint: Joint, rng: Rng, spread: float = 0.12) -> Polygon:
    """Turn a little around `joint` and resize a little: a matrix for rows (x, y, 1)."""
    turn, size = rng.normal(0, spread), rng.uniform(0.9, 1.12)
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    return np.array(((cos, sin, 0), (-sin, cos, 0), (*joint, 1)))


def developed(image: Image.Image, rng: Rng) -> Image.Image:
    """Add the light, a soft focus and the grain of a camera."""
    small = np.asarray(image.reduce(2), dtype=np.float32)
    slope = np.linspace(-1, 1, SIZE, dtype=np.float32)
    across, down, bright = rng.uniform((-0.2, -0.2, 0.85), (0.2, 0.2, 1.1)).astype(np.float32)
    light = bright + across * slope[None, :, None] + down * slope[:, None, None]
    top, left = rng.integers(0, SIZE, 2)
    grained = small * light + GRAIN[top : top + SIZE, left : left + SIZE]
    lit = Image.fromarray(grained.clip(0, 255).astype(np.uint8))
    return lit.filter(ImageFilter.BoxBlur(rng.uniform(0, 0.8)))


def disc(x: float, y: float, width: float, height: float) -> Polygon:
    """Outline an ellipse around (x, y)."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def outline(text: str) -> Polygon:
    """Read corners from "x y, x y, ..."."""
    return np.array([[float(word) for word in pair.split()] for pair in text.split(",")])


STONE, TUFT = disc(0, 0, 1, 0.7), outline("-.6 .5, -1 -.6, -.3 0, 0 -1, .3 0, 1 -.6, .6 .5")
LEAF = outline("-.6 0, -.3 -.2, .1 -.24, .6 0, .1 .24, -.3 .2")
