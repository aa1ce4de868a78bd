"""The figure of a prior visit: every structure on the prior and on today's image, side by side, with W, S and flag."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.transforms import Affine2D, Transform
from skimage.measure import find_contours

from ..adaptive.flags import AMBER, GREEN, RED
from ..adaptive.visit_results import Adaptation, PriorVisit, StructureResult
from ..files.atomic import write_bytes
from ..space.intensity import IntensityMapping, estimate_mapping
from ..space.volume import Volume
from .adapt_panels import Pair, Scene
from .adapt_report import percent
from .figure import BACKGROUND, DPI, patient_sides
from .figure_panel import FAINT_INK, FONT, INK, write_sides

PRIOR_COLOUR, WARPED_COLOUR, SEGMENTED_COLOUR = "#5ee0b0", "#31c6f7", "#ffd21f"
FLAG_COLOURS = {GREEN: "#3ddc4e", AMBER: "#ffb020", RED: "#ff4d4d"}
_PANEL, _GAP, _HEADER, _CAPTION, _TITLE, _LEGEND = 2.05, 0.07, 0.62, 0.22, 0.45, 0.36
_PAIRS = 3
_MOST_STRUCTURES = 10


def save_visit_figure(
    path: str | os.PathLike[str],
    result: Adaptation,
    prior: PriorVisit,
    follow_up: Volume,
    *,
    title: str = "",
    window: str = "auto",
) -> None:
    """Write a PNG: a row per structure, pairs of prior (left) and follow-up (right) in the same plane and scale.

    Shown are the slice with the largest area, the slices that the flag points at, and the quarters. With many
    structures those with the worst flags are shown; the title says so.

    Args:
        path: PNG file to write, atomically.
        result: what ``adapt`` returned.
        prior: the earlier visit.
        follow_up: today's image.
        title: a line of text.
        window: intensities for display, see ``estimate_mapping``.

    Raises:
        InputError: ``output.*``, ``option.window``.
    """
    mappings = _mappings(prior.volume, follow_up, window)
    scene = Scene.of(result, prior, follow_up, mappings)
    shown = _worst(result.structures, _MOST_STRUCTURES)
    rows = {name: scene.pairs(name, one, _PAIRS) for name, one in shown.items()}
    row_height = _HEADER + _PANEL + _CAPTION + _GAP
    width = _PAIRS * (2 * _PANEL + 2 * _GAP) + 2 * _GAP
    height = _TITLE + max(1, len(rows)) * row_height + _LEGEND
    figure = Figure(figsize=(width, height))
    note = f"{len(shown)} of {len(result.structures)} structures" if len(shown) < len(result.structures) else ""
    _title(figure, title, note)
    sides = patient_sides(scene.stack)
    for n, (name, pairs) in enumerate(rows.items()):
        top = height - _TITLE - n * row_height
        _row_header(figure, name, shown[name], top)
        for m, pair in enumerate(pairs):
            left = 2 * _GAP + m * (2 * _PANEL + 2 * _GAP)
            _draw_pair(figure, pair, (left, top - _HEADER - _PANEL), result.axis, sides if m == 0 else None)
    _legend(figure)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI, facecolor=BACKGROUND)
    write_bytes(path, buffer.getvalue())


def _mappings(prior: Volume, follow_up: Volume, window: str) -> tuple[IntensityMapping, IntensityMapping]:
    return estimate_mapping(prior, window), estimate_mapping(follow_up, window)


def _worst(structures: Mapping[str, StructureResult], most: int) -> dict[str, StructureResult]:
    """The structures with the worst flags, in their own order."""
    rank = {RED: 0, AMBER: 1, GREEN: 2}
    kept = set(sorted(structures, key=lambda name: rank.get(structures[name].flag.colour, 0))[:most])
    return {name: one for name, one in structures.items() if name in kept}


def _axes(figure: Figure, x: float, y: float) -> Axes:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, _PANEL / width, _PANEL / height))
    axes.set(xticks=[], yticks=[], facecolor="black")
    axes.spines[:].set(color="#3a444e", linewidth=1.0)
    return axes


def _draw_pair(
    figure: Figure, pair: Pair, corner: tuple[float, float], axis: str, sides: tuple[str, str] | None
) -> None:
    prior, today = _axes(figure, *corner), _axes(figure, corner[0] + _PANEL, corner[1])
    prior.imshow(pair.prior, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    _outline(prior, pair.before, PRIOR_COLOUR)
    if pair.follow_up is None:
        today.text(
            0.5, 0.5, "outside of the image", color=FAINT_INK, fontsize=FONT, ha="center", transform=today.transAxes
        )
    else:
        today.imshow(pair.follow_up, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        _outline(today, pair.warped, WARPED_COLOUR, dashed=True)
        _outline(today, pair.segmented, SEGMENTED_COLOUR)
        if sides is not None:
            write_sides(today, *sides)
    _caption(prior, "prior")
    _caption(today, f"follow-up  {axis} {pair.index}" + (f"  {pair.words}" if pair.words else ""))


def _outline(axes: Axes, mask: np.ndarray, colour: str, dashed: bool = False) -> None:
    lines = [line[:, ::-1] - 1 for line in find_contours(np.pad(mask, 1), 0.5)]
    style = {"linewidths": 1.2, "linestyles": (0, (3, 2))} if dashed else {"linewidths": 1.4}
    axes.add_collection(LineCollection(lines, colors=colour, **style), autolim=False)


def _caption(axes: Axes, text: str) -> None:
    style = {"fontsize": FONT, "color": FAINT_INK, "va": "top", "ha": "left"}
    axes.annotate(text, (0, 0), xycoords="axes fraction", xytext=(1, -3), textcoords="offset points", **style)


def _row_header(figure: Figure, name: str, one: StructureResult, top: float) -> None:
    width, height = figure.get_size_inches()
    colour = FLAG_COLOURS.get(one.flag.colour, INK)
    figure.add_artist(
        Circle((0, 0), 5, color=colour, transform=_at(figure, 2.2 * _GAP + 0.05, top - 0.18), clip_on=False)
    )
    figure.text(
        (2.2 * _GAP + 0.2) / width, (top - 0.18) / height, heading(name, one), color=INK, fontsize=FONT + 2,
        va="center", ha="left", weight="bold",
    )  # fmt: skip
    reasons = textwrap.shorten("; ".join(one.flag.reasons), width=int(width * 14), placeholder=" …")
    figure.text(
        (2.2 * _GAP + 0.2) / width, (top - 0.42) / height, f"{one.flag.colour}: {reasons}", color=colour,
        fontsize=FONT + 0.5, va="center", ha="left",
    )  # fmt: skip


def heading(name: str, one: StructureResult) -> str:
    """Name, outcome and change of a structure in one line."""
    changes = one.changes
    if not one.mask.any():
        return f"{name[:40]}: {one.outcome} ({changes.prior_ml:.1f} ml on the prior)"
    return (
        f"{name[:40]}: {one.outcome}, {changes.prior_ml:.1f} → {changes.follow_up_ml:.1f} ml "
        f"({percent(changes.volume_percent)})"
    )


def _at(figure: Figure, x: float, y: float) -> Transform:
    """Places in points around a spot in inches, so that a circle is round."""
    return Affine2D().scale(1 / 72).translate(x, y) + figure.dpi_scale_trans


def _title(figure: Figure, title: str, note: str) -> None:
    width, height = figure.get_size_inches()
    y = 1 - 0.5 * _TITLE / height
    figure.text(2 * _GAP / width, y, title[: int(width * 9)], color=INK, fontsize=FONT + 3, va="center", ha="left")
    figure.text(1 - 2 * _GAP / width, y, note, color=FAINT_INK, fontsize=FONT, va="center", ha="right")


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=PRIOR_COLOUR, linewidth=2, label="contour of the prior visit"),
        Line2D(
            [], [], color=WARPED_COLOUR, linewidth=1.6, linestyle=(0, (3, 2)), label="W: carried over by registration"
        ),
        Line2D([], [], color=SEGMENTED_COLOUR, linewidth=2, label="S: segmented on the follow-up"),
    ]
    style = {"frameon": False, "labelcolor": INK, "fontsize": FONT + 0.5, "columnspacing": 1.6}
    figure.legend(handles=handles, loc="lower center", ncols=3, **style)
