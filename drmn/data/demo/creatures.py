"""Draw a creature of the demo set: every attribute is a part that shows in one place.

Body, head, wing, tail and the stones around share one palette: where a colour is says all.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from drmn.data.demo.drawing import (
    FINE,
    PAINTS,
    PALETTE,
    Joint,
    Polygon,
    Rng,
    cover,
    developed,
    disc,
    ground,
    moved,
    outline,
    polygon,
    tinted,
)

Shape: TypeAlias = tuple[Polygon, str]  # an outline around its part's joint, and its paint
Values: TypeAlias = Mapping[str, str]

GROUPS: dict[str, tuple[str, ...]] = {
    "body_colour": PALETTE,
    "body_pattern": ("plain", "stripes", "spots", "bands"),
    "belly_patch": ("none", "cream", "black"),
    "head_colour": PALETTE,
    "crest": ("none", "horns", "antennae", "comb"),
    "eye": ("wide", "narrow", "masked"),
    "beak": ("short", "long", "hooked", "flat"),
    "wing_colour": PALETTE,
    "wing_shape": ("round", "pointed", "feathered"),
    "tail_colour": PALETTE,
    "tail_shape": ("fan", "forked", "curled"),
    "leg_count": ("two", "four"),
    "leg_colour": ("orange", "black", "white"),
}


def paint(values: Values, key: tuple[int, ...]) -> Image.Image:
    """Draw the creature with these attributes; `key` decides all that is no attribute.

    Two creatures with one key have the same pose, light and surroundings, pixel by pixel.
    """
    rng = np.random.default_rng(key)
    image = ground(rng)
    draw = ImageDraw.Draw(image)
    place = _placed(rng)
    for joint, shapes in _anatomy(values):
        _paint_part(draw, shapes, moved(joint, rng) @ place, rng)
    cover(draw, place, rng)
    return developed(image, rng)


def _paint_part(draw: ImageDraw.ImageDraw, shapes: list[Shape], place: Polygon, rng: Rng) -> None:
    # Every paint is tinted, used or not: what is drawn never shifts the numbers that follow.
    tints = {name: tinted(hsv, rng) for name, hsv in PAINTS.items()}
    for points, name in shapes:
        polygon(draw, points @ place[:2, :2] + place[2, :2], tints[name])


def _placed(rng: Rng) -> Polygon:
    """Put the creature somewhere, at some size, a little turned, facing left or right."""
    unit = 68 * rng.uniform(0.65, 1.05)
    facing = np.diag((rng.choice((-1.0, 1.0)), 1.0, 1.0))
    place = moved((0, 0), rng, spread=0.2) @ facing * (unit, unit, 1)
    place[2, :2] = FINE / 2 + rng.uniform(-54, 54, 2)
    return place


def _anatomy(v: Values) -> list[tuple[Joint, list[Shape]]]:
    """List the parts and their shapes, what is farthest from the eye first."""
    body = [(disc(0, 0, *BODY), v["body_colour"])]
    head = [(BEAKS[v["beak"]], "orange"), (disc(0.3, -0.3, 0.5, 0.48), v["head_colour"])]
    return [
        ((-0.8, 0), [(TAILS[v["tail_shape"]], v["tail_colour"])]),
        ((0, 0.45), [(leg, v["leg_colour"]) for leg in LEGS[v["leg_count"]]]),
        ((0, 0), [*body, *MARKS[v["body_pattern"]], *PATCHES[v["belly_patch"]]]),
        ((-0.2, -0.25), [(feather, v["wing_colour"]) for feather in WINGS[v["wing_shape"]]]),
        ((0.85, -0.5), [*CRESTS[v["crest"]], *head, *EYES[v["eye"]]]),
    ]


def _chord(x: float, half: float) -> Polygon:
    """Cut an upright slice out of the unit circle: a pattern that never leaves its body."""
    across = np.array((x - half, x, x + half))
    high = np.sqrt(1 - across**2)
    return np.stack([np.r_[across, across[::-1]], np.r_[high, -high[::-1]]], axis=1)


def _pair(shape: Polygon, name: str) -> list[Shape]:
    return [(shape, name), (np.array((0.6, 0)) - shape * (1, -1), name)]  # both sides of the head


def _feather(turn: float) -> Polygon:
    cos, sin = np.cos(turn), np.sin(turn)
    return disc(0, -0.68, 0.2, 0.76) @ np.array(((cos, sin), (-sin, cos)))


# All lengths are in half-lengths of a body, x to the creature's front and y down.
BODY = (0.95, 0.62)
LEG = outline("-.09 0, .09 0, .07 .62, .32 .8, -.1 .8")
LEGS = {
    "two": [LEG + np.array((x, 0)) for x in (-0.35, 0.25)],
    "four": [LEG + np.array((x, 0)) for x in (-0.68, -0.32, 0.15, 0.5)],
}
SPOTS = ((-0.7, 0.1), (-0.45, -0.3), (-0.35, 0.3), (0, 0), (0.3, -0.4), (0.1, 0.4), (0.45, 0.1))
MARKS: dict[str, list[Shape]] = {
    "plain": [],
    "stripes": [(_chord(x, 0.07) * BODY, "black") for x in (-0.7, -0.35, 0.0, 0.35, 0.7)],
    "bands": [(_chord(y, 0.1)[:, ::-1] * BODY, "black") for y in (-0.5, 0.0, 0.5)],
    "spots": [(disc(x, y, 0.12, 0.12), "black") for x, y in SPOTS],
}
PATCH = disc(0.25, 0.4, 0.52, 0.24)
PATCHES = {"none": [], "cream": [(PATCH, "cream")], "black": [(PATCH, "black")]}
STALK, KNOB = outline("0 -.6, .1 -.6, -.14 -1.2, -.2 -1.2"), disc(-0.18, -1.2, 0.13, 0.13)
CRESTS: dict[str, list[Shape]] = {
    "none": [],
    "horns": _pair(outline("-.1 -.6, .18 -.7, -.2 -1.3"), "cream"),
    "antennae": _pair(STALK, "black") + _pair(KNOB, "white"),
    "comb": [(outline("-.3 -.4, -.3 -1, -.02 -.8, .14 -1.2, .3 -.8, .6 -1.05, .7 -.5"), "coral")],
}
EYES: dict[str, list[Shape]] = {
    "wide": [(disc(0.42, -0.34, 0.23, 0.23), "white"), (disc(0.48, -0.34, 0.1, 0.12), "black")],
    "narrow": [(disc(0.42, -0.34, 0.26, 0.1), "white"), (disc(0.48, -0.34, 0.1, 0.1), "black")],
    "masked": [(disc(0.4, -0.34, 0.36, 0.21), "black"), (disc(0.46, -0.34, 0.1, 0.1), "white")],
}
BEAKS = {
    "short": outline(".7 -.42, 1.1 -.2, .7 -.02"),
    "long": outline(".7 -.34, 1.6 -.1, .7 -.04"),
    "hooked": outline(".6 -.5, 1 -.48, 1.22 -.2, 1.15 .22, .98 -.08, .65 0"),
    "flat": outline(".7 -.25, 1 -.18, 1.3 -.32, 1.45 -.1, 1.3 .12, .7 0"),
}
WINGS = {
    "round": [disc(-0.2, -0.6, 0.52, 0.74)],
    "pointed": [outline(".4 .15, -.5 .1, -1 -1.5")],
    "feathered": [_feather(turn) for turn in (-1.0, -0.5, 0.0)],
}
OUTER, INNER = disc(-0.55, -0.2, 0.68, 0.68), disc(-0.55, -0.2, 0.32, 0.32)
TAILS = {
    "fan": outline("0 -.2, -1 -.85, -1.2 -.4, -1.25 0, -1.2 .35, -1 .7, 0 .2"),
    "forked": outline("0 -.22, -1.3 -.9, -.65 -.08, -1.3 .7, 0 .22"),
    "curled": np.concatenate([OUTER[4:19], INNER[18:3:-1]]),
}
