"""What a propagation of one object starts from: prompts on seed slices, and slices that the object does not reach."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import PromptError
from .types import SlicePrompts


@dataclass(frozen=True, eq=False)
class ObjectSeeds:
    """Seeds and stop marks of one object, by slice.

    Attributes:
        seeds: slice -> prompts on it.
        stops: slices where the object is not; a propagation never passes them.
        drawn: seed slices whose ``prompts.mask`` is the user's final word: it is taken as it is.
        notes: what was changed or left out on the way from the user's prompts.
    """

    seeds: Mapping[int, SlicePrompts]
    stops: frozenset[int] = frozenset()
    drawn: frozenset[int] = frozenset()
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, value: ObjectSeeds | Mapping[int, SlicePrompts]) -> ObjectSeeds:
        """Seeds as they are, or from plain slice prompts.

        Of plain prompts, a slice with nothing but negative points is a stop mark, and one with nothing but a mask is
        drawn.
        """
        if isinstance(value, ObjectSeeds):
            return value
        stops = frozenset(n for n, prompts in value.items() if prompts.only_negative)
        drawn = frozenset(
            n for n, given in value.items() if given.mask is not None and given.box is None and not len(given.points)
        )
        return cls({n: prompts for n, prompts in value.items() if n not in stops}, stops, drawn)

    def check(self, count: int, shape: tuple[int, int]) -> None:
        """Refuse what cannot be used on ``count`` slices of ``shape`` (rows, columns).

        Raises:
            PromptError: ``prompt.none``, ``prompt.only_negative``, ``prompt.outside``, ``prompt.empty``,
                ``prompt.wrong_volume`` (a mask of another size).
        """
        if not self.seeds:
            if self.stops:
                raise PromptError(
                    "prompt.only_negative",
                    "Expected at least one positive point, box or mask; got only negative points or stop marks. "
                    "Mark the object itself first.",
                )
            raise PromptError("prompt.none", "Expected at least one point, box or mask; got no prompt.")
        for index in sorted({*self.seeds, *self.stops}):
            if not 0 <= index < count:
                raise PromptError(
                    "prompt.outside", f"Expected prompts on slices 0 to {count - 1}; got one on slice {index}."
                )
        for index, prompts in self.seeds.items():
            if prompts.empty:
                raise PromptError("prompt.empty", f"Expected a point, box or mask on slice {index}; got none.")
            if prompts.mask is not None and tuple(prompts.mask.shape) != tuple(shape):
                raise PromptError(
                    "prompt.wrong_volume",
                    f"Expected a mask of {shape[0]} x {shape[1]} pixels on slice {index}; got "
                    f"{' x '.join(map(str, prompts.mask.shape))}. It was drawn on another volume or axis.",
                )


def fingerprint(prompts: SlicePrompts) -> str:
    """Hash of the content of slice prompts: 32 hex digits, equal for equal points, labels, box and mask."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(prompts.points, dtype=np.float64).tobytes())
    digest.update(np.ascontiguousarray(prompts.labels, dtype=np.int64).tobytes())
    digest.update(repr(None if prompts.box is None else tuple(map(float, prompts.box))).encode())
    if prompts.mask is not None:
        digest.update(repr(prompts.mask.shape).encode())
        digest.update(np.packbits(np.asarray(prompts.mask, dtype=bool)).tobytes())
    return digest.hexdigest()
