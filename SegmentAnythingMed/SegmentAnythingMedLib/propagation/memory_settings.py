"""Settings of a propagation with memory, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from .settings import PropagationSettings, _number, _whole

MASKS = ("refined", "verbatim")
PUBLISHED = ("", "sam2", "medsam2")


@dataclass(frozen=True)
class MemorySettings(PropagationSettings):
    """How an object is tracked by a model with memory, and what ends a walk.

    Of the fields of :class:`PropagationSettings` those about projected prompts (``projection``, ``box_extension``,
    ``multi_component``, ...) and about what pixels alone tell do nothing here; the tests of overlap, area and predicted
    IoU, ``patience``, ``limits``, ``full_fraction`` and ``prior_iou`` are the same.

    Attributes:
        patience: consecutive slices on which the object may be missing or be refused; it may reappear behind them.
        object_score_threshold: the object is taken to be absent from a slice whose object score (a logit) is this or
            less; below 0 SAM 2 gives no mask anyway.
        masks: ``refined``: drawn masks prompt the decoder, and what it makes of them is remembered; ``verbatim``: the
            drawn mask itself is remembered. A drawn slice keeps its mask either way.
        conditioning_slices: prompted slices that one slice reads, the nearest ones; 0 is all of them. What a slice does
            not read does not have to be done again when it is edited.
        coupled: the way down reads what the way up left beside the seeds, as SAM 2's own predictor does; else both have
            their own memory and the result does not depend on which comes first.
        published: ``sam2``: the rules of ``SAM2VideoPredictor``: forward from the first prompted slice of all objects
            to the end, then back, nothing refused. ``medsam2``: those of MedSAM2: the same with memory emptied between,
            and of the union the largest connected part. Then only ``masks`` counts (``verbatim`` is theirs).

    Raises:
        InputError: ``option.<name>`` for a value of the wrong kind or out of range.
    """

    confidence_drop: float = 1.0
    appearance: float = 0.0
    patience: int = 2
    object_score_threshold: float = 0.0
    masks: str = "refined"
    conditioning_slices: int = 4
    coupled: bool = False
    published: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        threshold = _number("object_score_threshold", self.object_score_threshold, 0.0, 1000.0)
        object.__setattr__(self, "object_score_threshold", threshold)
        object.__setattr__(
            self, "conditioning_slices", _whole("conditioning_slices", self.conditioning_slices, 0, 1000)
        )
        for name, allowed in (("masks", MASKS), ("published", PUBLISHED)):
            if getattr(self, name) not in allowed:
                words = ", ".join(word or "nothing" for word in allowed)
                raise InputError(f"option.{name}", f"Expected {words} for {name}; got {getattr(self, name)!r}.")
        if not isinstance(self.coupled, bool):
            raise InputError("option.coupled", f"Expected true or false for coupled; got {self.coupled!r}.")
        if self.as_published:
            raise InputError(
                "option.as_published",
                "The published rules of micro-sam are for the engine 'prompt'; here published is 'sam2' or 'medsam2'.",
            )
        if self.published and self.limits is not None:
            raise InputError("option.limits", "The published rules know no limits; got both.")

    @classmethod
    def of(cls, settings: PropagationSettings) -> MemorySettings:
        """The same wishes for this engine: what differs from the prompt engine's defaults is taken over."""
        if isinstance(settings, MemorySettings):
            return settings
        usual = PropagationSettings()
        changed = {
            field.name: getattr(settings, field.name)
            for field in fields(PropagationSettings)
            if getattr(settings, field.name) != getattr(usual, field.name)
        }
        return cls(**changed)

    @classmethod
    def as_sam2(cls, **changes: Any) -> MemorySettings:
        """As ``SAM2VideoPredictor`` does it."""
        return cls(**{"published": "sam2", "masks": "verbatim", **changes})

    @classmethod
    def as_medsam2(cls, **changes: Any) -> MemorySettings:
        """As MedSAM2 does it."""
        return cls(**{"published": "medsam2", "masks": "verbatim", **changes})
