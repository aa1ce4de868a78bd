"""Small, clean copies of a visit for registration: coarser voxels, grey values made comparable, the body found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..space.affine import Affine
from ..space.intensity import estimate_mapping, looks_like_hu
from ..space.statistics import volume_statistics
from ..space.volume import Volume
from .pulling import pull
from .transforms import VisitTransform

_HU_CURVE = ([-1000.0, -200.0, 300.0, 1300.0], [0.0, 0.2, 0.85, 1.0])
"""Most of the range for soft tissue; lung and bone keep contrast, since rigid alignment holds on to them."""

FEWEST_SLICES = 5
"""Slices that ITK's smoothing and interpolation need along every axis; thinner stacks repeat their outer slices."""

_AIR_HU = -300.0
_CLOSING_MM = 6.0


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """A visit prepared for registration.

    Attributes:
        image: SimpleITK float32, 0..1, orthonormal axes, in the patient space of its visit.
        body: SimpleITK uint8 on the same grid: 1 inside the body.
        slices: voxels along the shortest axis, before thin stacks were made thicker.
    """

    image: sitk.Image
    body: sitk.Image
    slices: int

    @property
    def centre(self) -> np.ndarray:
        """LPS of the body's centroid in mm, float64 [3]."""
        body = sitk.GetArrayViewFromImage(self.body)
        ijk = np.array(ndimage.center_of_mass(body))[::-1]
        return np.array(self.image.TransformContinuousIndexToPhysicalPoint(ijk.tolist()))

    @property
    def middle(self) -> np.ndarray:
        """LPS of the middle of the field of view in mm, float64 [3]."""
        ijk = (np.array(self.image.GetSize()) - 1) / 2
        return np.array(self.image.TransformContinuousIndexToPhysicalPoint(ijk.tolist()))


def working_image(volume: Volume, spacing_mm: float) -> WorkingImage:
    """Prepare a visit: voxels of about ``spacing_mm`` by averaging (never finer than stored), grey values 0..1.

    Raises:
        InputError: ``visits.registration`` for colour images and for images without contrast.
    """
    if volume.channels != 1:
        raise InputError("visits.registration", "Expected images with one value per voxel to register, got colour.")
    hu = looks_like_hu(volume, volume_statistics(volume.voxels))
    voxels, affine = _coarse(volume, spacing_mm)
    grey = np.interp(voxels, *_HU_CURVE).astype(np.float32) if hu else estimate_mapping(volume).apply(voxels)
    if not grey.max() > grey.min():
        raise InputError("visits.registration", "Expected an image with contrast to register, got one grey value only.")
    body = _body(voxels if hu else grey, affine, _AIR_HU if hu else None)
    if not affine.is_orthogonal():
        grey, body, affine = _orthogonal(grey, body, affine)
    slices = min(grey.shape)
    grey, body, affine = _thick_enough(grey, body, affine)
    return WorkingImage(_image(grey, affine), _image(body.astype(np.uint8), affine), slices)


def _coarse(volume: Volume, spacing_mm: float) -> tuple[np.ndarray, Affine]:
    """Block means, float32: antialiased, one slab at a time."""
    factors = [max(1, round(spacing_mm / s)) for s in volume.spacing[::-1]]
    factors = [min(f, n) for f, n in zip(factors, volume.shape, strict=True)]
    kept = [n // f for f, n in zip(factors, volume.shape, strict=True)]
    out = np.empty(kept, dtype=np.float32)
    for plane in range(kept[0]):
        slab = volume.voxels[plane * factors[0] : (plane + 1) * factors[0]]
        slab = slab[:, : kept[1] * factors[1], : kept[2] * factors[2]].astype(np.float32)
        slab = slab.mean(axis=0).reshape(kept[1], factors[1], kept[2], factors[2])
        out[plane] = slab.mean(axis=(1, 3))
    matrix = volume.affine.shifted([(f - 1) / 2 for f in factors[::-1]]).matrix.copy()
    matrix[:3, :3] *= factors[::-1]
    finite = out[np.isfinite(out)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return np.nan_to_num(out, nan=low, posinf=high, neginf=low), Affine(matrix)


def _body(values: np.ndarray, affine: Affine, threshold: float | None) -> np.ndarray:
    """Largest bright object with its holes filled: body, head or limb; everything, where none stands out."""
    if threshold is None:
        image = sitk.GetImageFromArray(values)
        threshold = sitk.OtsuThresholdImageFilter()
        threshold.Execute(image)
        threshold = 0.5 * threshold.GetThreshold()  # half: dark tissue belongs to the head, air does not
    bright = values > threshold
    radius = np.maximum(np.round(_CLOSING_MM / affine.spacing[::-1]).astype(int), 0)
    ball = np.ones([2 * min(int(r), 2) + 1 for r in radius], dtype=bool)
    opened = ndimage.binary_opening(bright, structure=np.ones((1, 3, 3), dtype=bool))
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.ones(values.shape, dtype=bool)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    closed = ndimage.binary_closing(np.pad(largest, 3), structure=ball)[3:-3, 3:-3, 3:-3]
    for axis in range(3):
        for n in range(closed.shape[axis]):
            plane = closed[(slice(None),) * axis + (n,)]
            plane |= ndimage.binary_fill_holes(plane)
    return closed


def _orthogonal(grey: np.ndarray, body: np.ndarray, affine: Affine) -> tuple[np.ndarray, np.ndarray, Affine]:
    """The same on a grid along L, P, S: ITK's images know no shear."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in grey.shape[::-1]], indexing="ij")).reshape(3, -1).T
    corners = affine.ijk_to_lps(ends)
    step = float(affine.spacing.min())
    low, size = corners.min(axis=0), corners.max(axis=0) - corners.min(axis=0)
    target = Affine.from_parts((step,) * 3, low)
    shape = tuple(int(n) for n in np.floor(size / step).astype(int)[::-1] + 1)
    same = VisitTransform.identity()
    return pull(grey, affine, same, target, shape), pull(body, affine, same, target, shape, interpolator=1) > 0, target


def _thick_enough(grey: np.ndarray, body: np.ndarray, affine: Affine) -> tuple[np.ndarray, np.ndarray, Affine]:
    short = [max(0, FEWEST_SLICES - n) for n in grey.shape]
    if not any(short):
        return grey, body, affine
    pads = [(n // 2, n - n // 2) for n in short]
    affine = affine.shifted([-before for before, _ in pads[::-1]])
    return np.pad(grey, pads, mode="edge"), np.pad(body, pads, mode="edge"), affine


def _image(voxels: np.ndarray, affine: Affine) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(affine.spacing.tolist())
    image.SetOrigin(affine.origin.tolist())
    image.SetDirection(affine.direction.ravel().tolist())
    return image


def affine_of(image: sitk.Image) -> Affine:
    """Affine of a SimpleITK image."""
    return Affine.from_parts(image.GetSpacing(), image.GetOrigin(), np.array(image.GetDirection()).reshape(3, 3))


def body_near(image: WorkingImage, points: np.ndarray, margin_mm: float) -> tuple[sitk.Image, sitk.Image]:
    """Part of a working image around LPS points [N, 3], and the body there."""
    ijk = affine_of(image.image).lps_to_ijk(points)
    size, spacing = np.array(image.image.GetSize()), np.array(image.image.GetSpacing())
    low = np.floor(ijk.min(axis=0) - margin_mm / spacing).astype(int)
    high = np.ceil(ijk.max(axis=0) + margin_mm / spacing).astype(int) + 1
    # at least as many voxels as smoothing needs, even for a structure at the very edge
    low = np.clip(low, 0, size - FEWEST_SLICES)
    high = np.clip(high, low + FEWEST_SLICES, size)
    window = [int(n) for n in high - low], [int(n) for n in low]
    return sitk.RegionOfInterest(image.image, *window), sitk.RegionOfInterest(image.body, *window)
