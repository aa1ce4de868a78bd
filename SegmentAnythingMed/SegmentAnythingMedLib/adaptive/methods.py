"""One-shot methods by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .baselines.direct import DirectTransfer
from .baselines.gf_sam import GFSAM
from .baselines.label_propagation import LabelPropagation
from .baselines.mask_copy import MaskCopy
from .baselines.matcher import Matcher
from .baselines.panet import PANet
from .baselines.persam_f import PerSAMF
from .one_shot import OneShotMethod
from .p2sam import P2SAM
from .persam import PerSAM

_METHODS: dict[str, Callable[..., OneShotMethod]] = {
    "p2sam": P2SAM,
    "persam": PerSAM,
    "persam-f": PerSAMF,
    "matcher": Matcher,
    "panet": PANet,
    "label-propagation": LabelPropagation,
    "direct": DirectTransfer,
    "copy": MaskCopy,
    "gf-sam": GFSAM,
}
METHOD_NAMES = tuple(_METHODS)
"""Names that :func:`one_shot_method` knows."""


def one_shot_method(name: str, *args: Any, **settings: Any) -> OneShotMethod:
    """A method by its name; what is given beside it goes to the method.

    Args:
        name: one of :data:`METHOD_NAMES`.
        args, settings: of the method's class, e.g. ``P2SAMSettings(...)`` for ``p2sam``, ``protocol="published"`` for
            ``persam``, ``MatcherSettings(...)`` for ``matcher``, ``transform=...`` for ``copy``.

    Raises:
        InputError: ``option.method`` for a name that is not known.
    """
    if name not in _METHODS:
        raise InputError("option.method", f"Expected one of the methods {', '.join(METHOD_NAMES)}; got {name!r}.")
    return _METHODS[name](*args, **settings)
