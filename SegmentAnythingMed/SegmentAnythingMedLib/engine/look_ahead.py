"""Slices that a walk will most likely ask for next are encoded together with the one that it asks for.

A GPU encodes a few slices in little more time than one; a CPU gains nothing by it, so there this does nothing
(``PromptableModel.look_ahead`` is 0). A walk announces its way as far as its limits and stop marks let it go, and never
beyond. Where the object ends earlier, what was encoded beyond is for nothing: at most ``look_ahead`` slices for each
walk, and as many where the object becomes so small that a region around it is shown instead.

Only whole slices are known beforehand. A region follows the last mask, so a model that uses regions looks at one slice
at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features import FeatureCache

NOWHERE = range(0)


def after(steps: range, index: int) -> range:
    """What comes after ``index`` in a walk over ``steps``."""
    return range(index + steps.step, steps.stop, steps.step)


def announce(predictor: Any, index: int, onward: Sequence[int]) -> None:
    """Tell a predictor what comes after the slice that it is about to be asked for, if it wants to know."""
    if len(onward) and hasattr(predictor, "expect"):
        predictor.expect(index, onward)


class LookAhead:
    """What a walk announced, and how much of it is worth encoding now.

    Attributes:
        nbytes: of the features of one whole slice as they are kept; 0 until there are any.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._index, self._onward = -1, NOWHERE

    def expect(self, index: int, onward: Sequence[int]) -> None:
        """Slice ``index`` is asked for next, and then, unless the walk ends, ``onward`` in this order."""
        self._index, self._onward = index, onward

    def beside(self, index: int, most: int, cache: FeatureCache) -> list[int]:
        """Slices to encode together with ``index``; what was announced counts once.

        Args:
            index: slice that has to be encoded now.
            most: of the model, ``look_ahead``.
            cache: no more slices than it has room for in memory, so that none is dropped before it is read; none as
                long as it is not known how large they are.
        """
        if index != self._index or not self.nbytes:
            return []
        most = max(0, min(most, cache.ram_bytes // self.nbytes - 1))
        chosen, self._onward = list(self._onward[:most]), NOWHERE
        return chosen
