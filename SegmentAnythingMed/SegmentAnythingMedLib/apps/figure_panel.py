"""One panel of the figure: a slice with outlines and prompts, and the caption under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours

from ..prompts.types import SlicePrompts
from ..propagation.records import SliceRecord
from .figure_layout import LINE, Window

Masks = Mapping[str, Mapping[int, np.ndarray]]
Records = Mapping[str, Mapping[int, SliceRecord]]
Prompts = Mapping[str, Mapping[int, SlicePrompts]]

COLOURS = ("#ffd21f", "#31c6f7", "#ff6b6b", "#b48cff", "#ff9f40", "#5ee0b0", "#ff8ad8", "#c3d94e")
PROMPT_COLOUR, NEGATIVE_COLOUR, REFERENCE_COLOUR = "#45ff3b", "#ff3b3b", "#ffffff"
FRAME_COLOURS = {"seed": PROMPT_COLOUR, "drawn": PROMPT_COLOUR, "stopped": "#ff3b3b", "blend": "#ff9f40"}
INK, FAINT_INK = "#e8edf2", "#a9b4bf"
FONT = 8.0

REASONS = {
    "stopped:absent": "stopped: nothing found",
    "stopped:appearance": "stopped: looks different",
    "stopped:area": "stopped: area jumps",
    "stopped:full": "stopped: fills the slice",
    "stopped:iou": "stopped: low IoU",
    "stopped:object_score": "stopped: object absent",
    "stopped:predicted_iou": "stopped: model unsure",
    "stopped:confidence": "stopped: much less sure than before",
    "stopped:user": "stop mark",
}


@dataclass(frozen=True)
class Content:
    """What is drawn: each by object name and slice.

    Attributes:
        masks: bool [H, W].
        records: why the slice is as it is.
        prompts: of the user.
        references: bool [H, W] to compare with.
    """

    masks: Masks
    records: Records
    prompts: Prompts
    references: Masks = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Objects in the order in which they were given."""
        return list(dict.fromkeys([*self.masks, *self.records, *self.prompts]))

    @property
    def slices(self) -> set[int]:
        """Slices with a mask, a record or a prompt."""
        return {n for source in (self.masks, self.records, self.prompts) for one in source.values() for n in one}

    @property
    def all_masks(self) -> list[np.ndarray]:
        """Masks and references of all slices."""
        return [mask for source in (self.masks, self.references) for one in source.values() for mask in one.values()]

    @property
    def all_prompts(self) -> list[SlicePrompts]:
        """Prompts of all slices."""
        return [prompts for one in self.prompts.values() for prompts in one.values()]

    def colour(self, name: str) -> str:
        """Colour of an object."""
        return COLOURS[self.names.index(name) % len(COLOURS)]


def draw_panel(axes: Axes, image: np.ndarray, index: int, window: Window, content: Content) -> None:
    """Draw one slice.

    Args:
        axes: where.
        image: 0..1, [h, w] or [h, w, 3], the part of the slice that lies in ``window``.
        index: slice.
        window: what part that is.
        content: masks and prompts, in pixels of the whole slice.
    """
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=window.extent, aspect="auto", interpolation="bilinear")
    for masks in content.references.values():
        if index in masks:
            _outline(axes, masks[index], window, REFERENCE_COLOUR, dashed=True)
    for name, masks in content.masks.items():
        if index in masks:
            _outline(axes, masks[index], window, content.colour(name))
    for prompts in content.prompts.values():
        if index in prompts:
            _prompt(axes, prompts[index], window)
    _frame(axes, [records[index] for records in content.records.values() if index in records])
    axes.set_xlim(window.extent[:2])
    axes.set_ylim(window.extent[2:])


def _outline(axes: Axes, mask: np.ndarray, window: Window, colour: str, dashed: bool = False) -> None:
    """Contour of a mask; closed where the mask touches the edge of the window."""
    part = np.pad(np.asarray(mask[window.slices], dtype=np.float32), 1)
    lines = [line[:, ::-1] + (window.col0 - 1, window.row0 - 1) for line in find_contours(part, 0.5)]
    style = {"linewidths": 0.9, "linestyles": (0, (4, 3))} if dashed else {"linewidths": 1.4}
    axes.add_collection(LineCollection(lines, colors=colour, **style), autolim=False)


def _prompt(axes: Axes, prompts: SlicePrompts, window: Window) -> None:
    if prompts.mask is not None:
        tint = np.zeros((*prompts.mask[window.slices].shape, 4), dtype=np.float32)
        tint[prompts.mask[window.slices] > 0] = (0.27, 1.0, 0.23, 0.25)
        axes.imshow(tint, extent=window.extent, aspect="auto", interpolation="nearest")
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        style = {"fill": False, "edgecolor": PROMPT_COLOUR, "linewidth": 1.2}
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **style))
    edge = [withStroke(linewidth=3.2, foreground="black")]
    for (x, y), label in zip(np.asarray(prompts.points).reshape(-1, 2), prompts.labels, strict=True):
        marker, colour = ("+", PROMPT_COLOUR) if label == 1 else ("x", NEGATIVE_COLOUR)
        style = {"color": colour, "markersize": 9, "markeredgewidth": 1.8, "path_effects": edge}
        axes.plot(x, y, marker, scalex=False, scaley=False, **style)


def _frame(axes: Axes, records: Sequence[SliceRecord]) -> None:
    """Colour the frame by the most telling reason on the slice."""
    kinds = {"blend" if r.reason == "interpolated" else r.reason.split(":")[0] for r in records}
    colour = next((FRAME_COLOURS[kind] for kind in FRAME_COLOURS if kind in kinds), "#3a444e")
    axes.spines[:].set(color=colour, linewidth=1.6)


def caption(axis: str, index: int, content: Content) -> list[str]:
    """Lines under a panel: the slice, then reason and numbers of each object."""
    entries = [(name, records[index]) for name, records in content.records.items() if index in records]
    if len(content.names) > 1:
        lines = [f"{name[:18]}: {reason_text(record)}" for name, record in entries[:4]]
        return [f"{axis} {index}", *lines, *([f"and {len(entries) - 4} more"] if len(entries) > 4 else [])]
    if not entries:
        return [f"{axis} {index}"]
    return [f"{axis} {index}  {reason_text(entries[0][1])}", numbers_text(entries[0][1])]


def reason_text(record: SliceRecord) -> str:
    """Reason of a record in words for a caption."""
    return REASONS.get(record.reason, record.reason.replace(":", ": ").replace("_", " "))


def numbers_text(record: SliceRecord) -> str:
    """Numbers behind a record for a caption: overlap and area against the neighbour, or the model's own estimate."""
    parts = []
    if record.iou is not None:
        parts.append(f"IoU {record.iou:.2f}")
    if record.area_ratio is not None:
        parts.append(f"area ×{record.area_ratio:.2f}")
    if not parts and record.predicted_iou is not None:
        parts.append(f"estimated IoU {record.predicted_iou:.2f}")
    return "  ".join(parts)


def write_caption(axes: Axes, lines: Sequence[str]) -> None:
    """Write lines under a panel."""
    for n, line in enumerate(lines):
        style = {"fontsize": FONT, "color": INK if n == 0 else FAINT_INK, "va": "top", "ha": "left"}
        down = -(0.05 + n * LINE) * 72
        axes.annotate(line, (0, 0), xycoords="axes fraction", xytext=(1, down), textcoords="offset points", **style)


def write_sides(axes: Axes, left: str, top: str) -> None:
    """Write letters for the sides of the patient at the left and the upper edge of a panel."""
    edge = [withStroke(linewidth=2.5, foreground="black")]
    style = {"color": INK, "fontsize": FONT + 1, "path_effects": edge, "transform": axes.transAxes}
    axes.text(0.015, 0.5, left, ha="left", va="center", **style)
    axes.text(0.5, 0.985, top, ha="center", va="top", **style)
