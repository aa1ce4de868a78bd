"""Bringing two visits together: rigid in the body, then a deformation around the structures, checked the way back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import SimpleITK as sitk

from ..progress import Progress
from ..space.volume import Volume
from .deformable import DeformableSettings, bend
from .inversion import inverse_points
from .registration_judgement import RegistrationLimits, judge
from .registration_quality import inverse_errors, jacobian, similarity, structure_fits
from .registration_report import RegistrationReport, StructureFit
from .rigid import align_rigidly
from .transforms import VisitTransform
from .warping import voxels_of
from .working_images import WorkingImage, affine_of, body_near, working_image

__all__ = ["Registrar", "RegistrationReport", "SimpleITKRegistrar", "StructureFit", "assess"]

_FINEST_MM, _COARSEST_MM, _ACROSS = 0.5, 3.0, 64
"""Voxels of the working images: 3 mm, less where the field of view has fewer than 64 of those across."""


_PROBES = 5000
"""Voxels of a structure that are followed to find its region, at most."""

_ALIKE, _STIFFEST = 0.3, 30.0
"""Similarity of two visits of one modality, below which the deformation is made stiffer; and by how much at most."""


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
                cannot be registered (no contrast, colour).
            Cancelled: through ``progress``.
        """


@dataclass(frozen=True)
class SimpleITKRegistrar:
    """Rigid by SimpleITK, then a B-spline (an ITK transform, optimised by :mod:`.deformable`).

    The result depends on the images and settings only: sampling is seeded, sums are made by one thread.

    Attributes:
        deformable: False: rigid only.
        margin_mm: around all structures together, in which space may bend.
        check_inverse: find the deformation a second time in the opposite direction, for the inverse-consistency error.
        settings: of the deformation.
        limits: beyond which a result is not trusted.
    """

    deformable: bool = True
    margin_mm: float = 40.0
    check_inverse: bool = True
    settings: DeformableSettings = field(default_factory=DeformableSettings)
    limits: RegistrationLimits = field(default_factory=RegistrationLimits)

    def register(
        self,
        prior: Volume,
        follow_up: Volume,
        *,
        structures: Mapping[str, np.ndarray],
        progress: Progress | None = None,
    ) -> tuple[VisitTransform, RegistrationReport]:
        """Find the transform; see :class:`Registrar`."""
        progress = progress or Progress()
        progress.start("Registering the visits", 4)
        clock = _Clock()
        spacing = min(working_spacing(prior), working_spacing(follow_up))
        visits = working_image(prior, spacing), working_image(follow_up, spacing)
        clock.lap("prepare", progress)
        rigid = align_rigidly(*visits, progress, _one_frame(prior, follow_up))
        clock.lap("rigid", progress)
        region = _region(structures, prior, follow_up, rigid, visits[1], self.margin_mm)
        scaled = self._scaled(spacing, None if region is None else similarity(visits[0], *region, rigid))
        bent, back = None, None
        if self.deformable and region is not None:
            bent = bend(visits[0].image, *region, rigid, scaled, progress)
        clock.lap("deformation", progress)
        if bent is not None and self.check_inverse:
            home = _region(structures, prior, prior, VisitTransform.identity(), visits[0], self.margin_mm)
            back = bend(visits[1].image, *home, rigid.inverse(), scaled, progress)
        report = self._report(visits, (prior, follow_up), structures, region, (rigid, bent, back))
        clock.lap("check", progress)
        transform, report = judge(report, rigid, bent, self.limits)
        return transform, replace(report, seconds=clock.seconds)

    def _scaled(self, spacing: float, alike: float | None) -> DeformableSettings:
        """Finer knots for small fields of view; stiffer where the images tell less about each other."""
        caution = np.clip((_ALIKE / max(alike or 0.0, 0.01)) ** 2, 1.0, _STIFFEST)
        return replace(
            self.settings,
            knots_mm=self.settings.knots_mm * spacing / _COARSEST_MM,
            stiffness=self.settings.stiffness * float(caution),
        )

    def _report(
        self,
        visits: tuple[WorkingImage, WorkingImage],
        volumes: tuple[Volume, Volume],
        structures: Mapping[str, np.ndarray],
        region: tuple[sitk.Image, sitk.Image] | None,
        found: tuple[VisitTransform, VisitTransform | None, VisitTransform | None],
    ) -> RegistrationReport:
        rigid, bent, back = found
        last = rigid if bent is None else bent
        report = assess(*volumes, last, structures, rigid=rigid, visits=visits, region=region)
        if back is None:
            return report
        errors = inverse_errors(*volumes, {n: structures[n] for n in report.structures}, back, last)
        fits = {
            name: replace(fit, inverse_mm=float(error.mean()), inverse_max_mm=float(error.max())) if len(error) else fit
            for (name, fit), error in zip(report.structures.items(), errors.values(), strict=True)
        }
        every = np.concatenate([*errors.values(), np.zeros(0)])
        return replace(
            report,
            structures=fits,
            inverse_mm=float(every.mean()) if len(every) else None,
            inverse_max_mm=float(every.max()) if len(every) else None,
            inverse_method="registered back",
        )


def assess(
    prior: Volume,
    follow_up: Volume,
    transform: VisitTransform,
    structures: Mapping[str, np.ndarray],
    *,
    rigid: VisitTransform | None = None,
    visits: tuple[WorkingImage, WorkingImage] | None = None,
    region: tuple[sitk.Image, sitk.Image] | None = None,
) -> RegistrationReport:
    """Figures of any transform, given or found; no judgement yet, see :func:`~.registration_judgement.judge_given`.

    Args:
        prior: the earlier visit.
        follow_up: today's visit.
        transform: follow-up -> prior.
        structures: structure -> bool [K, J, I] of ``prior``.
        rigid: the rigid alignment below it, when known.
        visits: working images of both, when they are there already.
        region: part of the follow-up's working image and what is compared there, when it is there already.

    Raises:
        InputError: ``visits.registration`` for an image that cannot be compared (no contrast, colour).
    """
    spacing = min(working_spacing(prior), working_spacing(follow_up))
    moving, fixed = visits or (working_image(prior, spacing), working_image(follow_up, spacing))
    part = region or _region(structures, prior, follow_up, transform, fixed, 40.0) or (fixed.image, fixed.body)
    folded = 0.0
    if not transform.is_linear:
        folded = float(np.mean(jacobian(transform, affine_of(part[0]), part[0].GetSize()[::-1]) <= 0))
    return RegistrationReport(
        kind="given" if rigid is None else "rigid" if transform.is_linear else "deformable",
        similarity_before=similarity(moving, *part, VisitTransform.identity()),
        similarity_rigid=None if rigid is None else similarity(moving, *part, rigid),
        similarity_after=similarity(moving, *part, transform),
        structures=structure_fits(prior, follow_up, structures, transform, rigid),
        folded_fraction=folded,
        rigid=rigid,
    )


def _one_frame(prior: Volume, follow_up: Volume) -> bool:
    """True if both are DICOM series of one frame of reference."""
    uids = [getattr(volume.source, "frame_of_reference_uid", "") for volume in (prior, follow_up)]
    return bool(uids[0]) and uids[0] == uids[1]


def working_spacing(volume: Volume) -> float:
    """Voxels of the working image in mm."""
    extent = sorted(np.array(volume.shape[::-1]) * volume.spacing)[1]
    return float(np.clip(extent / _ACROSS, _FINEST_MM, _COARSEST_MM))


def _region(
    structures: Mapping[str, np.ndarray],
    prior: Volume,
    target: Volume,
    transform: VisitTransform,
    image: WorkingImage,
    margin_mm: float,
) -> tuple[sitk.Image, sitk.Image] | None:
    """Part of a working image around all structures together, and the body there; None when none lies in it."""
    points = []
    for mask in structures.values():
        there, _ = inverse_points(transform, prior.affine.ijk_to_lps(voxels_of(mask, _PROBES)))
        points.append(there[target.contains(target.affine.lps_to_ijk(there))])
    return body_near(image, np.concatenate(points), margin_mm) if any(map(len, points)) else None


class _Clock:
    """Wall time by step, told to the progress as well."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str, progress: Progress) -> None:
        """Note what the step since the last lap took, and let a cancel through."""
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
        progress.check()
        progress.advance()
