"""Bringing two visits together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ..progress import Progress
from ..space.volume import Volume
from .registration_report import RegistrationReport, StructureFit
from .transforms import VisitTransform

__all__ = ["Registrar", "RegistrationReport", "StructureFit"]


class Registrar(Protocol):
    """Anything that finds the transform between two visits."""

    def register(
        self,
        prior: Volume,
        follow_up: Volume,
        *,
        structures: Mapping[str, np.ndarray],
        progress: Progress | None = None,
    ) -> tuple[VisitTransform, RegistrationReport]:
        """Find the transform follow-up -> prior.

        Args:
            prior: the earlier visit.
            follow_up: today's visit.
            structures: structure -> bool [K, J, I] of ``prior``; the neighbourhood of all of them is what must fit.
            progress: told of every step; its ``cancel`` ends the work.

        Raises:
            InputError: ``visits.overlap`` when the visits show nothing in common; ``visits.registration`` when an image
                cannot be registered (no contrast).
            Cancelled: through ``progress``.
        """
