"""Pictures of a report, as text of the page: SVG of plots and patterns, PNG of images."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

_SIZE = (640, 340)  # of the plot, in pixels
_MARGIN = (70, 20, 20, 50)  # left, right, top, bottom
_FONT = 'font-family="sans-serif" font-size="12"'
_CELL = 12  # side of a pixel of a pattern
_FILL = {"#": "#222", ".": "#fff", "-": "#d8d8d8"}


def image_uri(image: np.ndarray) -> str:
    """Return an image as a data URI of a PNG.

    Args:
        image: bool or uint8 `(H, W)`, or uint8 `(H, W, 3)`.

    Returns:
        Text that begins with "data:image/png;base64,".

    Example:
        >>> image_uri(np.eye(2, dtype=bool))[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    content = io.BytesIO()
    image = image.astype(np.uint8) * 255 if image.dtype == bool else image
    Image.fromarray(image).save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def difference(answer: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an answer beside its target in colour.

    Args:
        answer: bool `(H, W)`.
        target: bool `(H, W)`.
        mask: bool `(H, W)`, the pixels that count.

    Returns:
        uint8 `(H, W, 3)`: white and black where the answer is right, red where it misses a pixel,
        blue where it has one too many, gray where no pixel counts.

    Example:
        >>> on, off = np.array([[True]]), np.array([[False]])
        >>> difference(off, on, on)[0, 0].tolist(), difference(on, off, on)[0, 0].tolist()
        ([214, 39, 40], [31, 119, 255])
    """
    picture = np.zeros((*answer.shape, 3), np.uint8)
    picture[answer & target] = 255
    picture[~answer & target] = (214, 39, 40)
    picture[answer & ~target] = (31, 119, 255)
    picture[~mask] = 128
    return picture


def pattern(on: np.ndarray, *, off: np.ndarray | None = None) -> str:
    """Return a structuring element or a hit-or-miss as SVG.

    Args:
        on: bool, the pixels of the element, or those that must be set: black. Those of volumes are
            drawn slice by slice, side by side.
        off: bool, the pixels that must be unset: white. The others are gray.

    Returns:
        An `<svg>` element.

    Example:
        >>> pattern(np.eye(2, dtype=bool)).count("<rect")
        4
    """
    letters = np.where(on, "#", "-" if off is not None else ".")
    letters = letters if off is None else np.where(off, ".", letters)
    *slices, height, width = letters.shape
    # A gap of half a cell between slices.
    each = width + 0.5
    cells = "".join(
        f'<rect x="{_CELL * (each * k + x):g}" y="{_CELL * y}" width="{_CELL}" height="{_CELL}" '
        f'fill="{_FILL[letter]}" stroke="#999"/>'
        for (k, y, x), letter in np.ndenumerate(letters.reshape(-1, height, width))
    )
    width = each * math.prod(slices) - 0.5
    return f'<svg width="{_CELL * width:g}" height="{_CELL * height}">{cells}</svg>'


def plot(points: Sequence[tuple[float, float]], lines: Mapping[str, float]) -> str:
    """Return errors against bit operations as SVG, both axes logarithmic.

    Args:
        points: (bit operations, error) of each row of a menu; errors of 0 stand at the bottom.
        lines: errors of answers that need no learning, by name.

    Returns:
        An `<svg>` element.

    Example:
        >>> plot([(8, 0.01), (100, 0.0)], {"copy": 0.1}).count("<circle")
        2
    """
    errors = [error for _, error in points] + list(lines.values())
    positive = [error for error in errors if error > 0] or [1.0]
    low, high = math.log10(min(positive)) - 0.4, math.log10(max(positive)) + 0.2
    costs = [math.log10(max(cost, 1)) for cost, _ in points] or [0.0]
    first, last = min(costs) - 0.3, max(costs) + 0.3
    (width, height), (left, right, top, bottom) = _SIZE, _MARGIN

    def x(cost: float) -> float:
        share = (math.log10(max(cost, 1)) - first) / (last - first)
        return left + share * (width - left - right)

    def y(error: float) -> float:
        share = (math.log10(error) - low) / (high - low) if error > 0 else 0.0
        return height - bottom - share * (height - top - bottom)

    parts = [f'<svg viewBox="0 0 {width} {height}" style="max-width: {width}px" {_FONT}>']
    parts.append(
        f'<path d="M{left} {top}V{height - bottom}H{width - right}" fill="none" stroke="#000"/>'
    )
    for power in range(math.ceil(low), math.floor(high) + 1):
        text = f"{100 * 10.0**power:g} %"
        parts.append(_text(left - 6, y(10.0**power) + 4, text, anchor="end"))
    for power in range(math.ceil(first), math.floor(last) + 1):
        parts.append(_text(x(10.0**power), height - bottom + 18, f"{10**power:,}"))
    for name, error in lines.items():
        parts.append(
            f'<path d="M{left} {y(error):.1f}H{width - right}" stroke="#999" stroke-dasharray="4"/>'
        )
        parts.append(_text(width - right, y(error) - 4, name, anchor="end", colour="#666"))
    for number, (cost, error) in enumerate(points):
        parts.append(f'<circle cx="{x(cost):.1f}" cy="{y(error):.1f}" r="4" fill="#1f77ff"/>')
        parts.append(_text(x(cost), y(error) - 8, str(number)))
    parts.append(_text(width / 2, height - 8, "bit operations for each pixel"))
    parts.append(_text(left + 4, top, "error on held-out pairs", anchor="start"))
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, *, anchor: str = "middle", colour: str = "#000") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{html.escape(text)}</text>"
