"""What a propagation leaves behind: masks, and for every slice the reason why it is as it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SEED = "seed"
DRAWN = "drawn"
FORWARD = "forward"
BACKWARD = "backward"
BLEND = "blend"
INTERPOLATED = "interpolated"
EDGE = "edge"
LIMIT = "limit"
CANCELLED = "cancelled"
STOPPED_ABSENT = "stopped:absent"
STOPPED_FULL = "stopped:full"
STOPPED_IOU = "stopped:iou"
STOPPED_AREA = "stopped:area"
STOPPED_PREDICTED_IOU = "stopped:predicted_iou"
STOPPED_CONFIDENCE = "stopped:confidence"
STOPPED_APPEARANCE = "stopped:appearance"
STOPPED_OBJECT_SCORE = "stopped:object_score"
STOPPED_USER = "stopped:user"


@dataclass(frozen=True)
class SliceRecord:
    """One slice of a propagation.

    Attributes:
        index: slice.
        reason: ``seed`` (from the user's prompts), ``drawn`` (the user's own mask), ``forward`` / ``backward`` (from
            the slice before / after), ``blend`` (between seeds, from both), ``interpolated`` (shape between two
            masks, not the model's), or ``stopped:...`` (no mask; why the model's answer was refused; ``stopped:user``
            is a stop mark).
        iou: overlap with the last accepted mask, or with the interpolated shape between seeds, 0..1.
        area: pixels of the model's mask (of the mask itself if the model was not asked).
        area_ratio: area / area of the last accepted mask.
        predicted_iou: the model's own estimate, 0..1.
        appearance: part of the seed's contrast that is left under the mask (1: as on the seed, 0: like what was around
            it there), or None.
        object_score: logit of presence, or None.
        shift: (rows, columns) in pixels by which the last mask was moved before comparing, or None.
        components: parts that are prompted one by one on the next slice, or None.
        rejected: on an interpolated slice, why the model's own mask was refused, or None.
        note: further remark, or empty.
    """

    index: int
    reason: str
    iou: float | None = None
    area: int | None = None
    area_ratio: float | None = None
    predicted_iou: float | None = None
    appearance: float | None = None
    object_score: float | None = None
    shift: tuple[int, int] | None = None
    components: int | None = None
    rejected: str | None = None
    note: str = ""

    @property
    def accepted(self) -> bool:
        """True when the slice carries a mask."""
        return not self.reason.startswith("stopped:")

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known is left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None and value != ""}
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in values.items()}


@dataclass(eq=False)
class Run:
    """A part of a propagation that depends on nothing but its key: a seed, a walk outward, a gap between seeds.

    Attributes:
        key: everything the run depends on; equal keys give equal results, so a finished run can be used again.
        masks: slice -> bool [H, W], accepted slices only.
        records: slice -> record.
        end: why an outward walk ended, or None.
        finished: False while running, and for ever after a cancel.
        news: slices decided since somebody last looked, in order.
    """

    key: Hashable
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    records: dict[int, SliceRecord] = field(default_factory=dict)
    end: str | None = None
    finished: bool = False
    news: list[int] = field(default_factory=list, repr=False)

    def accept(self, record: SliceRecord, mask: np.ndarray) -> None:
        """Keep a mask with its record."""
        self.masks[record.index] = mask
        self.refuse(record)

    def refuse(self, record: SliceRecord) -> None:
        """Keep the record of a slice without a mask."""
        self.records[record.index] = record
        self.news.append(record.index)


@dataclass(frozen=True, eq=False)
class Propagation:
    """Masks of one object in a stack of slices.

    Attributes:
        count: slices of the stack.
        shape: (rows, columns) of a slice.
        masks: slice -> bool [H, W]; only slices where the object is.
        records: slice -> record, for every slice with a mask, every slice where the model was asked, every stop mark.
        lower: lowest slice with a mask; None if there is none.
        upper: highest slice with a mask; None if there is none.
        end_lower: why it ends there: ``edge`` (of the volume), ``limit``, ``stopped:...`` or ``cancelled``.
        end_upper: the same at the upper end.
        completed: False when it was cancelled; what was done before is here.
        notes: remarks for the user.
        runs: the parts, for the next propagation after an edit (``previous``).
    """

    count: int
    shape: tuple[int, int]
    masks: Mapping[int, np.ndarray]
    records: Mapping[int, SliceRecord]
    lower: int | None
    upper: int | None
    end_lower: str
    end_upper: str
    completed: bool
    notes: tuple[str, ...] = ()
    runs: Mapping[Hashable, Run] = field(default_factory=dict, repr=False)

    def stack(self) -> np.ndarray:
        """All masks as bool [count, H, W]."""
        out = np.zeros((self.count, *self.shape), dtype=bool)
        for index, mask in self.masks.items():
            out[index] = mask
        return out

    def to_json(self) -> dict[str, Any]:
        """Ends, notes and records as plain values, without masks."""
        return {
            "slices": self.count,
            "lower": self.lower,
            "upper": self.upper,
            "end_lower": self.end_lower,
            "end_upper": self.end_upper,
            "completed": self.completed,
            "notes": list(self.notes),
            "records": [self.records[index].to_json() for index in sorted(self.records)],
        }
