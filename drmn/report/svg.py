"""Small plots as inline SVG: they need no script, no font and no request, and print sharply."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
Marks = Sequence[tuple[float, str]]
"""Marks of an axis: where each is, and its text."""
WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 44
MOST_POINTS = 400
"""Points of a line that are drawn; more are not to be told apart."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Two ranges of values, drawn on the area of a plot."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return where a point is drawn."""
        (x0, x1), (y0, y1) = self.x, self.y
        across = (point[0] - x0) / ((x1 - x0) or 1)
        up = (point[1] - y0) / ((y1 - y0) or 1)
        return (
            LEFT + across * (self.width - LEFT - RIGHT),
            self.height - BOTTOM - up * (self.height - TOP - BOTTOM),
        )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers within a range, about `count` of them."""
    span = (high - low) or 1.0
    raw = span / count
    steps = [s * 10.0**e for e in range(-6, 7) for s in (1, 2, 5)]
    step = next((s for s in steps if s >= raw), raw)
    first = -(-low // step)
    found = []
    while first * step <= high + 1e-9 * span:
        found.append(round(first * step, 10) + 0.0)  # no -0
        first += 1
    return found


def plot(
    lines: Mapping[str, Points],
    marks: Mapping[str, Points],
    labels: tuple[str, str],
    title: str,
) -> str:
    """Return a plot of lines and of single points, each with its name in the legend.

    Args:
        lines: Points of each line.
        marks: Points that are drawn as dots.
        labels: Names of the two axes.
        title: Text for screen readers.
    """
    every = [p for points in (*lines.values(), *marks.values()) for p in points]
    if not every:
        return ""
    scale = Scale(_range([p[0] for p in every]), _range([p[1] for p in every]))
    below = [(value, f"{value:g}") for value in ticks(*scale.x)]
    parts = [axes(scale, labels, below, ticks(*scale.y))]
    for number, points in enumerate(lines.values()):
        placed = [scale.place(p) for p in _thinned(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
    for number, points in enumerate(marks.values(), len(lines)):
        for point in points:
            x, y = scale.place(point)
            parts.append(
                f'<circle class="c{number}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>'
                f"{html.escape(labels[0])} {point[0]:.4g}: {point[1]:.1f}</title></circle>"
            )
    legend = "".join(
        f'<span class="key"><i class="c{n}"></i>{html.escape(name)}</span>'
        for n, name in enumerate([*lines, *marks])
    )
    return figure((WIDTH, HEIGHT), parts, title, legend)


def figure(
    size: tuple[int, int],
    parts: Sequence[str],
    title: str,
    legend: str = "",
    *,
    fixed: bool = False,
) -> str:
    """Return drawn parts as a figure; a `fixed` one keeps its width and is scrolled."""
    width, height = size
    style = f' style="width:{width}px"' if fixed else ""
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{style} '
        f'role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
    )
    drawn = f'<div class="scroll">{drawn}</div>' if fixed else drawn
    caption = f"<figcaption>{legend}</figcaption>" if legend else ""
    return f"<figure{' class=fixed' if fixed else ''}>{drawn}{caption}</figure>"


def axes(scale: Scale, labels: tuple[str, str], below: Marks, beside: Sequence[float]) -> str:
    """Return the axes of a plot: the marks of x, a line for each of y, and both names."""
    parts, bottom = [], scale.height - BOTTOM
    for value in beside:
        _, y = scale.place((scale.x[0], value))
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{scale.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value, text in below:
        x, _ = scale.place((value, scale.y[0]))
        name = html.escape(text)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{name}</text>')
    middle, centre = (TOP + bottom) / 2, (LEFT + scale.width) / 2
    parts.append(f'<text x="{centre:.0f}" y="{scale.height - 6}" text-anchor="middle">')
    parts.append(f"{html.escape(labels[0])}</text>")
    parts.append(f'<text transform="rotate(-90 14 {middle:.0f})" x="14" y="{middle:.0f}" ')
    parts.append(f'text-anchor="middle">{html.escape(labels[1])}</text>')
    return "".join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    more = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - more, high + more


def _thinned(points: Points) -> Points:
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(i * step)] for i in range(MOST_POINTS)]
