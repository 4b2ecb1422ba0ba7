"""C that makes the planes of a gray image, for operators that were learned from gray images."""

from morphax import _checks
from morphax.data.gray_planes import FLOOR, UNIT, GrayPlanes
from morphax.export.c_source import _gray_templates as text
from morphax.export.c_source._text import fill
from morphax.program import Program


def check(program: Program, planes: GrayPlanes, channels: int, layout: str) -> None:
    """Check that a program reads the planes of gray images.

    Raises:
        ValueError: if it does not, or the layout has no gray images.
    """
    expected = "'pixels' for an operator on gray images"
    _checks.require(layout == "pixels", "layout", expected, layout)
    kinds = len(planes.shares) + len(planes.offsets) + len(planes.contrasts)
    made, read = channels * kinds, program.ops[0].shape[0]
    _checks.require(made == read, "planes", f"{read} planes, as the program reads", made)


def source(planes: GrayPlanes, channels: int, names: dict[str, object]) -> str:
    """Write `..._pack_gray`, and the functions that it needs.

    Args:
        planes: which planes are made of gray values, as `morphax.data.gray_planes` does.
        channels: channels of an image.
        names: `$names` of the templates of the pixel layout.

    Returns:
        Definitions.
    """
    names = {**names, "channels": channels}
    parts, calls, rows = [text.LEVELS], [], 2
    first, kinds = 0, len(planes.shares) + len(planes.offsets) + len(planes.contrasts)

    def part(template: str, call: str, many: int, side: int = 1, **more: object) -> None:
        """Add the function of a kind of planes, and its call."""
        nonlocal first
        options = {"many": many, "half": side // 2, "area": side * side}
        parts.append(fill(template, **names, **options, **more))
        place = f"in + ({kinds} * channel + {first}) * plane"
        last = ", work + LEVELS" if template is text.QUANTILES else ""
        calls.append(f"        {call}(image, width, height, {place}, work{last});")
        first += many

    if planes.shares:
        shares = ", ".join(f"{float(share):.17g}" for share in planes.shares)
        part(text.QUANTILES, "pack_quantiles", len(planes.shares), shares=shares)
    if planes.offsets or planes.contrasts:
        parts.append(fill(text.BOX, **names))
    if planes.offsets:
        offsets = ", ".join(str(int(offset)) for offset in planes.offsets)
        part(text.OFFSETS, "pack_offsets", len(planes.offsets), planes.offset_side, offsets=offsets)
        rows = max(rows, 3)
    if planes.contrasts:
        side = planes.contrast_side
        cuts = ", ".join(str(int(cut)) for cut in planes.contrasts)
        more = {"contrasts": cuts, "floor": side * side * FLOOR, "unit": UNIT}
        part(text.CONTRASTS, "pack_contrasts", len(planes.contrasts), side, **more)
        rows = max(rows, 2 * (side // 2) + 2 + 5)
    names = {**names, "rows": rows, "calls": "\n".join(calls)}
    return "\n\n".join([*(one.strip("\n") for one in parts), fill(text.PACK, **names)])


def header(channels: int, names: dict[str, object]) -> str:
    """Write the declarations of `..._pack_gray`."""
    return fill(text.HEADER, **names, channels=channels)


def reader(channels: int, names: dict[str, object]) -> str:
    """Write the functions that read PGM images, for `main`."""
    return fill(text.READ, **names, channels=channels)
