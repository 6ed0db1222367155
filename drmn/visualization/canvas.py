"""A page measured in pixels, drawn by matplotlib without its global state."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""[height, width, 3]."""
Point = tuple[int, int]
"""Pixels to the right and down from the top left corner."""
DPI = 100


class Canvas:
    """A white page, sized in pixels."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - a second
        from matplotlib.figure import Figure  # noqa: PLC0415

        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def image(self, at: Point, side: int, pixels: Pixels) -> None:
        """Put a square picture with its top left corner at `at`."""
        left, bottom = at[0] / self.width, 1 - (at[1] + side) / self.height
        box = (left, bottom, side / self.width, side / self.height)
        axes = self._figure.add_axes(box)
        axes.imshow(pixels)
        axes.set_axis_off()

    def text(
        self,
        at: Point,
        text: str,
        *,
        size: int = 12,
        colour: str = "#222222",
        bold: bool = False,
        badge: str = "",
    ) -> None:
        """Put text of `size` pixels with its top left corner at `at`, on a `badge` colour disc."""
        box = {"boxstyle": "circle,pad=0.25", "facecolor": badge, "edgecolor": "white"}
        self._figure.text(
            at[0] / self.width,
            1 - at[1] / self.height,
            text,
            verticalalignment="top",
            fontsize=size * 72 / DPI,
            family="DejaVu Sans",  # it comes with matplotlib, and has a tick
            color=colour,
            weight="bold" if bold else "normal",
            parse_math=False,  # a name may have a dollar in it
            bbox=box if badge else None,
        )

    def save(self, path: Path) -> None:
        """Write the page as a PNG, whole or not at all; the same page is the same bytes."""
        building = path.with_suffix(".tmp")
        self._canvas.print_png(building, metadata={"Software": None})
        building.replace(path)
