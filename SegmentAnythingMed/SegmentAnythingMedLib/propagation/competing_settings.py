"""Settings of a propagation in which projected prompts and memory compete for every slice."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import InputError
from .memory_settings import MemorySettings
from .settings import PropagationSettings, _number


@dataclass(frozen=True)
class CompetingSettings(MemorySettings):
    """How the better of two masks is told, and what ends a walk.

    All other fields mean what they mean for the engine that they are of: ``projection``, ``confidence_drop``,
    ``appearance`` and the like for the mask from the projected prompt, ``object_score_threshold`` and the like for the
    mask from memory, the tests of overlap and area, ``patience`` and ``limits`` for both.

    Attributes:
        agreement: part of a mask's score that is its agreement with the neighbouring masks (mean of IoU and of the
            smaller area over the larger one), the rest is the predicted IoU, 0..1.
        against_absence: where the memory says that the object is not on a slice, score that the other mask must have to
            be believed all the same, 0..1.

    Raises:
        InputError: ``option.<name>`` for a value of the wrong kind or out of range; ``option.published``.
    """

    confidence_drop: float = 0.3
    appearance: float = 0.3
    agreement: float = 0.5
    against_absence: float = 0.85

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("agreement", "against_absence"):
            object.__setattr__(self, name, _number(name, getattr(self, name), 0.0, 1.0))
        if self.published:
            raise InputError("option.published", "The published rules are for the engine 'memory'.")

    @classmethod
    def of(cls, settings: PropagationSettings) -> CompetingSettings:
        """The same wishes for this engine: what differs from the defaults of the settings' own engine is taken over."""
        if isinstance(settings, CompetingSettings):
            return settings
        kind = MemorySettings if isinstance(settings, MemorySettings) else PropagationSettings
        usual = kind()
        changed = {
            field.name: getattr(settings, field.name)
            for field in fields(kind)
            if getattr(settings, field.name) != getattr(usual, field.name)
        }
        return cls(**changed)
