"""What a transform does inside the structures: volumes kept or changed, space folded, places found again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from ..space.affine import Affine
from ..space.volume import Volume
from .mutual_information import normalised
from .pulling import displacements
from .registration_report import StructureFit
from .transforms import VisitTransform
from .warping import voxels_of, warp_mask
from .working_images import WorkingImage

_PROBES = 300
"""Points of a structure that are followed back and forth, at most."""

_MOST = 200_000
"""Voxels of a structure from which its centre and derivatives are computed, at most."""

_LEAST_SHARED = 0.05
"""Share of a region that both images must show for a similarity to mean something."""


def similarity(
    prior: WorkingImage, follow_up: sitk.Image, region: sitk.Image, transform: VisitTransform
) -> float | None:
    """Normalised mutual information of the visits within a region of the follow-up, 0..1.

    Args:
        prior: the prior visit.
        follow_up: float32 0..1, the follow-up or a part of it.
        region: uint8 on the grid of ``follow_up``; voxels above 0 are compared.
        transform: follow-up -> prior.

    Returns:
        None where the prior shows less than a twentieth of the region.
    """
    there = sitk.Resample(prior.image, follow_up, transform.itk, sitk.sitkLinear, -1.0)
    there, here, compared = (sitk.GetArrayFromImage(image) for image in (there, follow_up, region))
    wanted = compared > 0
    shared = wanted & (there >= 0)
    if np.count_nonzero(shared) < max(_LEAST_SHARED * np.count_nonzero(wanted), 50):
        return None
    return normalised(here[shared], there[shared])


def jacobian(transform: VisitTransform, grid: Affine, shape: tuple[int, int, int]) -> np.ndarray:
    """Determinant of a map at the voxels of a grid, float64 [K, J, I]; central differences from voxel to voxel.

    Args:
        transform: follow-up -> prior.
        grid: affine of a grid in the space of the follow-up with at least two voxels along every axis.
        shape: (K, J, I).
    """
    moved = displacements(transform, grid, shape)
    steps = np.stack([np.gradient(moved, axis=axis) for axis in (2, 1, 0)], axis=-1)  # [..., LPS, IJK] per voxel
    return np.linalg.det(grid.matrix[:3, :3] + steps) / np.linalg.det(grid.matrix[:3, :3])


def structure_fits(
    prior: Volume,
    follow_up: Volume,
    structures: Mapping[str, np.ndarray],
    transform: VisitTransform,
    rigid: VisitTransform | None,
    step_mm: float = 3.0,
) -> dict[str, StructureFit]:
    """Figures inside every structure that lies in the follow-up.

    Args:
        prior: the prior visit.
        follow_up: the follow-up.
        structures: structure -> bool [K, J, I] of ``prior``.
        transform: follow-up -> prior.
        rigid: its rigid part, from which deformations are counted; None: the linear part of ``transform``.
        step_mm: distance of the places at which derivatives are taken, a multiple of the follow-up's voxels.
    """
    base = VisitTransform.from_matrix(transform.linear_part) if rigid is None else rigid
    fits = {}
    for name, mask in structures.items():
        warped = warp_mask(mask, prior, follow_up, transform).mask
        if warped.any():
            fits[name] = _fit(mask, prior, warped, follow_up, transform, base, step_mm)
    return fits


def _fit(
    mask: np.ndarray,
    prior: Volume,
    warped: np.ndarray,
    follow_up: Volume,
    transform: VisitTransform,
    base: VisitTransform,
    step_mm: float,
) -> StructureFit:
    places = voxels_of(warped, _MOST)
    here = follow_up.affine.ijk_to_lps(places)
    shift = here.mean(axis=0) - prior.affine.ijk_to_lps(voxels_of(mask, _MOST)).mean(axis=0)
    if transform.is_linear:
        determinants = np.array([np.linalg.det(transform.matrix[:3, :3])])
        bent = np.zeros(1)
    else:
        strides = np.maximum(np.round(step_mm / follow_up.spacing), 1).astype(int)
        low = places.min(axis=0) - strides
        count = (places.max(axis=0) - low) // strides + 3
        matrix = follow_up.affine.shifted(low).matrix.copy()
        matrix[:3, :3] *= strides
        grid, shape = Affine(matrix), tuple(int(n) for n in count[::-1])
        inside = np.unique(np.round((places - low) / strides).astype(int), axis=0)
        k, j, i = inside.T[::-1]
        determinants = jacobian(transform, grid, shape)[k, j, i]
        points = grid.ijk_to_lps(inside)
        bent = np.linalg.norm(displacements(transform, grid, shape)[k, j, i] + points - base.map_points(points), axis=1)
    return StructureFit(
        jacobian_min=float(determinants.min()),
        jacobian_max=float(determinants.max()),
        folded_fraction=float(np.mean(determinants <= 0)),
        displacement_mm=float(bent.mean()),
        displacement_max_mm=float(bent.max()),
        shift_mm=float(np.linalg.norm(shift)),
    )


def inverse_errors(
    prior: Volume,
    follow_up: Volume,
    structures: Mapping[str, np.ndarray],
    forth: VisitTransform,
    back: VisitTransform,
) -> dict[str, np.ndarray]:
    """How far points of the structures end from where they began, by way of the follow-up, in mm.

    Args:
        prior: the prior visit.
        follow_up: the follow-up; points that leave it are not followed.
        structures: structure -> bool [K, J, I] of ``prior``.
        forth: prior -> follow-up, found independently of ``back``.
        back: follow-up -> prior.

    Returns:
        structure -> float64 [N], N at most 300, evenly taken from the structure's voxels; may be empty.
    """
    errors = {}
    for name, mask in structures.items():
        points = prior.affine.ijk_to_lps(voxels_of(mask, _PROBES))
        there = forth.map_points(points)
        kept = follow_up.contains(follow_up.affine.lps_to_ijk(there))
        errors[name] = np.linalg.norm(back.map_points(there[kept]) - points[kept], axis=1)
    return errors
