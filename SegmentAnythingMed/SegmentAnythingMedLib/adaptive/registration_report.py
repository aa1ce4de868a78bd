"""How well two visits were brought together: figures per structure, and what they mean in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .transforms import VisitTransform


@dataclass(frozen=True)
class StructureFit:
    """The transform inside one structure, on the follow-up.

    Attributes:
        jacobian_min, jacobian_max: determinant of the map follow-up -> prior: 1 keeps volumes, 0.5 means that the
            structure is twice as large today, below 0 means that space is folded.
        folded_fraction: share of the structure's voxels where the determinant is not above 0.
        displacement_mm, displacement_max_mm: mean and largest length of what the deformation adds to the rigid
            alignment; 0 for a rigid transform.
        shift_mm: distance between the structure's centroid on the prior and on the follow-up, in patient space.
        inverse_mm, inverse_max_mm: inverse-consistency error, see ``RegistrationReport.inverse_method``; None where it
            was not measured.
    """

    jacobian_min: float
    jacobian_max: float
    folded_fraction: float
    displacement_mm: float
    displacement_max_mm: float
    shift_mm: float
    inverse_mm: float | None = None
    inverse_max_mm: float | None = None


@dataclass(frozen=True, eq=False)
class RegistrationReport:
    """Quality of a registration.

    Attributes:
        kind: of the transform that is offered: ``identity``, ``rigid``, ``deformable`` or ``given``.
        similarity_before: normalised mutual information of the visits at equal places in patient space, 0 (nothing in
            common) to 1; None where they do not overlap.
        similarity_rigid: after the rigid alignment, in the region of the structures; None when there was none.
        similarity_after: with the offered transform, in the same region.
        structures: structure -> figures inside it; structures outside the follow-up are missing.
        folded_fraction: share of the whole deformed region where space is folded.
        inverse_mm, inverse_max_mm: inverse-consistency error inside all structures together, or None.
        inverse_method: ``registered back`` (the visits were registered a second time in the opposite direction, and the
            error is how far a point ends from where it began), ``exact`` (linear), or ``not measured``.
        ok: False when the result must not be trusted without a look; :attr:`transform` is then the safest one left.
        words: sentences for a person, most important first.
        seconds: wall time by step.
        rigid: the rigid alignment alone, always there to fall back on; None for a given transform.
    """

    kind: str
    similarity_before: float | None = None
    similarity_rigid: float | None = None
    similarity_after: float | None = None
    structures: Mapping[str, StructureFit] = field(default_factory=dict)
    folded_fraction: float = 0.0
    inverse_mm: float | None = None
    inverse_max_mm: float | None = None
    inverse_method: str = "not measured"
    ok: bool = True
    words: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    rigid: VisitTransform | None = None

    def describe(self) -> dict[str, Any]:
        """JSON form for a report."""
        return {
            "kind": self.kind,
            "ok": self.ok,
            "words": list(self.words),
            "similarity": {
                "measure": "normalised mutual information",
                "before": self.similarity_before,
                "rigid": self.similarity_rigid,
                "after": self.similarity_after,
            },
            "structures": {name: asdict(fit) for name, fit in self.structures.items()},
            "folded_fraction": self.folded_fraction,
            "inverse_consistency": {
                "mean_mm": self.inverse_mm,
                "max_mm": self.inverse_max_mm,
                "method": self.inverse_method,
            },
            "seconds": {name: float(value) for name, value in self.seconds.items()},
        }
