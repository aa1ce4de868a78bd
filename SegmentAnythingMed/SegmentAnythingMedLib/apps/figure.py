"""The figure of a segmentation: slices with outlines, the prompts, and why each slice was accepted or refused."""

from __future__ import annotations

import io
import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..files.atomic import write_bytes
from ..space.intensity import IntensityMapping
from ..space.planes import SliceStack
from .figure_layout import GAP, Grid, arrange, choose_slices, choose_window
from .figure_panel import (
    FAINT_INK,
    FONT,
    INK,
    NEGATIVE_COLOUR,
    PROMPT_COLOUR,
    REFERENCE_COLOUR,
    Content,
    Masks,
    Prompts,
    Records,
    caption,
    draw_panel,
    write_caption,
    write_sides,
)

BACKGROUND = "#101418"
HEADER, FOOTER, DPI = 0.45, 0.36, 110


def save_montage(
    path: str | os.PathLike[str],
    stack: SliceStack,
    mapping: IntensityMapping,
    masks: Masks,
    records: Records,
    prompts: Prompts,
    title: str = "",
    *,
    references: Masks | None = None,
    most_panels: int = 30,
) -> None:
    """Write a PNG montage of the slices that a segmentation visited.

    Every panel shows the same part of the slice in true proportions (mm), the outlines of the masks, the prompts on
    their slices, and under it the slice number and the reason of the record. When there are more slices than panels,
    the seeds, the ends and the stops are kept and the rest is thinned; the title says so.

    Args:
        path: PNG file to write, atomically.
        stack: the slices.
        mapping: voxel values -> 0..1 for display.
        masks: object name -> slice -> bool [H, W].
        records: object name -> slice -> record.
        prompts: object name -> slice -> prompts of the user.
        title: a line of text, e.g. the name of the image and the model.
        references: masks to compare with, drawn as dashed white lines.
        most_panels: bound on the number of panels.

    Raises:
        InputError: ``output.*`` when the file cannot be written.
    """
    content = Content(masks, records, prompts, references or {})
    shown = choose_slices(content.slices, _important(content), stack.count, most_panels)
    window = choose_window(content.all_masks, content.all_prompts, stack.shape, stack.pixel_spacing)
    rows_mm = (window.row1 - window.row0) * stack.pixel_spacing[0]
    columns_mm = (window.col1 - window.col0) * stack.pixel_spacing[1]
    captions = [caption(stack.axis, index, content) for index in shown]
    grid = arrange(len(shown), rows_mm / columns_mm, max(map(len, captions)))
    figure, panels = _page(grid, len(shown))
    for index, axes, lines in zip(shown, panels, captions, strict=True):
        draw_panel(axes, mapping.apply(stack.image(index)[window.slices]), index, window, content)
        write_caption(axes, lines)
    if stack.count > 1:  # a picture has no place in a patient
        write_sides(panels[0], *patient_sides(stack))
    visited = len({n for n in content.slices if 0 <= n < stack.count})
    _header(figure, title, f"{len(shown)} of {visited} slices shown" if len(shown) < visited else "")
    _legend(figure, content)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI, facecolor=BACKGROUND)
    write_bytes(path, buffer.getvalue())


def _important(content: Content) -> set[int]:
    """Slices that are shown even when there are too many: seeds, ends, and all that is not plain propagation."""
    kept = {n for prompts in content.prompts.values() for n in prompts}
    for masks in content.masks.values():
        present = [n for n, mask in masks.items() if mask.any()]
        kept |= {min(present), max(present)} if present else set()
    for records in content.records.values():
        kept |= {n for n, record in records.items() if record.reason not in ("forward", "backward")}
    return kept


def patient_sides(stack: SliceStack) -> tuple[str, str]:
    """Sides of the patient at the left and the upper edge of the slices: R, L, A, P, I or S, by the nearest axis."""
    corner, right, down = stack.volume.affine.ijk_to_lps(stack.to_ijk(0, [(0, 0), (1, 0), (0, 1)]))
    letters = []
    for step in (corner - right, corner - down):
        axis = int(np.argmax(np.abs(step)))
        letters.append(("RL", "AP", "IS")[axis][int(step[axis] > 0)])
    return letters[0], letters[1]


def _page(grid: Grid, count: int) -> tuple[Figure, list[Axes]]:
    width, height = grid.size
    width, height = max(width, 5.5), height + HEADER + FOOTER
    figure = Figure(figsize=(width, height))
    left = (width - grid.size[0]) / 2 + GAP
    panels = []
    for n in range(count):
        row, column = divmod(n, grid.columns)
        x = left + column * (grid.width + GAP)
        y = height - HEADER - GAP - row * (grid.height + grid.caption + GAP) - grid.height
        axes = figure.add_axes((x / width, y / height, grid.width / width, grid.height / height))
        axes.set(xticks=[], yticks=[], facecolor="black")
        panels.append(axes)
    return figure, panels


def _header(figure: Figure, title: str, note: str) -> None:
    width, height = figure.get_size_inches()
    y = 1 - 0.5 * HEADER / height
    room = int(width * 11) - len(note)
    title = title if len(title) <= room else title[: room - 1] + "…"
    figure.text(GAP * 2 / width, y, title, color=INK, fontsize=FONT + 3, va="center", ha="left")
    figure.text(1 - GAP * 2 / width, y, note, color=FAINT_INK, fontsize=FONT, va="center", ha="right")


def _legend(figure: Figure, content: Content) -> None:
    handles = [Line2D([], [], color=content.colour(name), linewidth=2, label=name[:24]) for name in content.names[:10]]
    given = content.all_prompts
    labels = {int(label) for one in given for label in one.labels}
    if any(one.box is not None for one in given):
        marker = {"marker": "s", "markerfacecolor": "none", "markeredgewidth": 1.2, "linestyle": "none"}
        handles.append(Line2D([], [], color=PROMPT_COLOUR, label="box", **marker))
    if any(one.mask is not None for one in given):
        handles.append(Line2D([], [], color=PROMPT_COLOUR, alpha=0.4, linewidth=6, label="given mask"))
    for label, marker, colour, text in ((1, "+", PROMPT_COLOUR, "inside"), (0, "x", NEGATIVE_COLOUR, "outside")):
        if label in labels:
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=text))
    if content.references:
        handles.append(Line2D([], [], color=REFERENCE_COLOUR, linewidth=1, linestyle=(0, (4, 3)), label="reference"))
    if handles:
        style = {"frameon": False, "labelcolor": INK, "fontsize": FONT + 0.5, "columnspacing": 1.6}
        figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 8), **style)
