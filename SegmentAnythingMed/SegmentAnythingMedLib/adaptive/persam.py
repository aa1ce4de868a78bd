"""PerSAM (Zhang et al., 2023): one prototype, its most and least similar places, and a guided decoder; no training."""

from __future__ import annotations

from .p2sam import P2SAM
from .p2sam_settings import P2SAMSettings


class PerSAM(P2SAM):
    """P2SAM's natural-image path with a single part is PerSAM; an ``OneShotMethod``.

    Args:
        protocol: ``published``, or ``default`` with the repairs that P2SAM's default has.
    """

    name = "persam"

    def __init__(self, protocol: str = "default") -> None:
        super().__init__(P2SAMSettings(protocol=protocol, natural=True, positives=(1, 1)))
