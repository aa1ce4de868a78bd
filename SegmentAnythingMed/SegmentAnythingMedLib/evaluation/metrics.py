"""Overlap and surface metrics of two masks, under one written convention, computed by MONAI.

Tools disagree about these numbers by tens of percent (Podobnik & Vrtovec 2024, "Understanding implementation pitfalls
of distance-based metrics for image segmentation"), so every result carries the convention and the library's version.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import monai
import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from ..errors import InputError

CONVENTION = (
    "Masks are binary on one grid; distances are Euclidean in mm by the grid's spacing. Outside the image is "
    "background, so a mask that touches the border has a surface there; an axis of a single slice is dropped (the "
    "surface is then the contour in the plane). Dice: voxel overlap. NSD: share of both surfaces, weighted by area "
    "(marching-cubes surface elements), that lies within the tolerance of the other. HD95: larger of the two directed "
    "95th percentiles over boundary voxels (voxels of the mask with a face neighbour outside). ASSD: mean over the "
    "boundary voxels of both masks together; ASD: the two directed means. Both masks empty: Dice and NSD 1, distances "
    "0, flag both_empty. One empty: Dice and NSD 0, distances the image diagonal (edge to edge) in mm, flag "
    "prediction_empty or reference_empty, counted as failed."
)
"""The convention of every number of this file; stored with the numbers."""

DISTANCES = ("hd95_mm", "assd_mm", "asd_prediction_to_reference_mm", "asd_reference_to_prediction_mm")
SUMMARISED = ("dice", "nsd", *DISTANCES)


def evaluate_masks(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], *, tolerance_mm: float = 2.0
) -> dict[str, Any]:
    """Compare a mask with a reference mask on the same grid.

    Args:
        prediction: [K, J, I], bool or a number; everything but 0 is the object.
        reference: same shape.
        spacing: (I, J, K) distance of voxel centres in mm, the order of ``Volume.spacing``.
        tolerance_mm: distance within which a surface counts as found (NSD); 2 mm is a default, not a law.

    Returns:
        ``dice``, ``nsd`` (0..1), ``hd95_mm``, ``assd_mm``, ``asd_prediction_to_reference_mm``,
        ``asd_reference_to_prediction_mm``, ``volume_prediction_ml``, ``volume_reference_ml``, ``volume_error_ml``
        (prediction minus reference), ``flag`` (``""``, ``both_empty``, ``prediction_empty``, ``reference_empty``),
        ``failed``, ``tolerance_mm``, ``spacing_mm`` (I, J, K), ``convention``, ``library``. Ready for JSON.

    Example:
        >>> reference = np.zeros((8, 16, 16), dtype=bool)
        >>> reference[2:6, 4:12, 4:12] = True
        >>> result = evaluate_masks(np.roll(reference, 1, axis=0), reference, spacing=(1.0, 1.0, 3.0))
        >>> result["dice"], result["hd95_mm"], result["volume_reference_ml"]
        (0.75, 3.0, 0.768)

    Raises:
        InputError: ``input.shape_mismatch``, ``input.dimensions``, ``input.not_finite``, ``input.spacing``,
            ``option.tolerance``.
    """
    prediction, reference = _as_mask(prediction, "prediction"), _as_mask(reference, "reference")
    spacing_mm = _checked(prediction, reference, spacing, tolerance_mm)
    voxel_ml = math.prod(spacing_mm) / 1000.0
    volumes = int(np.count_nonzero(prediction)) * voxel_ml, int(np.count_nonzero(reference)) * voxel_ml
    result: dict[str, Any] = _compare(prediction, reference, spacing_mm[::-1], float(tolerance_mm))
    result.update(
        volume_prediction_ml=volumes[0],
        volume_reference_ml=volumes[1],
        volume_error_ml=volumes[0] - volumes[1],
        failed=result["flag"] in ("prediction_empty", "reference_empty"),
        tolerance_mm=float(tolerance_mm),
        spacing_mm=list(spacing_mm),
        convention=CONVENTION,
        library=f"MONAI {monai.__version__}",
    )
    return result


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice overlap of two masks of any equal shape, 0..1; 1 when both are empty."""
    prediction, reference = np.asarray(prediction, dtype=bool), np.asarray(reference, dtype=bool)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(prediction & reference)) / total


def extent_errors(
    prediction: np.ndarray, reference: np.ndarray, slice_spacing: float, axis: int = 0
) -> tuple[float, float] | None:
    """How far a mask ends from where the reference ends, along one array axis.

    Args:
        prediction: [K, J, I] mask.
        reference: same shape.
        slice_spacing: distance of slices along ``axis`` in mm.
        axis: array axis, 0 for slices along K.

    Returns:
        (error at the low end, error at the high end) in mm; positive: the prediction reaches too far; None when one of
        the masks is empty.
    """
    others = tuple(a for a in range(np.ndim(reference)) if a != axis)
    got = np.flatnonzero(np.any(prediction, axis=others))
    true = np.flatnonzero(np.any(reference, axis=others))
    if not len(got) or not len(true):
        return None
    return float(true[0] - got[0]) * slice_spacing, float(got[-1] - true[-1]) * slice_spacing


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over cases that never drop a case: failed cases count with the values of the convention.

    Args:
        results: of :func:`evaluate_masks`.

    Returns:
        ``n``, ``n_failed``, and ``mean`` and ``median`` of each metric (empty without cases).
    """
    table = {name: np.array([r[name] for r in results], dtype=np.float64) for name in SUMMARISED}
    return {
        "n": len(results),
        "n_failed": sum(bool(r["failed"]) for r in results),
        "mean": {name: float(values.mean()) for name, values in table.items() if len(values)},
        "median": {name: float(np.median(values)) for name, values in table.items() if len(values)},
    }


def _as_mask(mask: np.ndarray, name: str) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 3:
        raise InputError(
            "input.dimensions", f"The {name} mask must have three axes [K, J, I], but has {mask.ndim}; give one volume."
        )
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise InputError(
            "input.not_finite",
            f"The {name} mask must be made of numbers, but holds NaN or infinity; set them to 0 first.",
        )
    return mask if mask.dtype == bool else mask != 0


def _checked(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> tuple[float, float, float]:
    if prediction.shape != reference.shape:
        raise InputError(
            "input.shape_mismatch",
            f"Both masks must have one shape, but the prediction is {prediction.shape} and the reference "
            f"{reference.shape} [K, J, I]; resample one onto the grid of the other.",
        )
    values = tuple(float(s) for s in spacing)
    if len(values) != 3 or not all(math.isfinite(s) and s > 0 for s in values):
        raise InputError("input.spacing", f"Spacing must be three positive numbers (I, J, K) in mm, but is {values}.")
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError("option.tolerance", f"The NSD tolerance must be >= 0 mm, but is {tolerance_mm}.")
    return values


def _compare(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> dict[str, Any]:
    """Metrics of the convention; ``spacing`` in array order."""
    some = bool(prediction.any()), bool(reference.any())
    if some == (False, False):
        return {"dice": 1.0, "nsd": 1.0, **dict.fromkeys(DISTANCES, 0.0), "flag": "both_empty"}
    if not all(some):
        diagonal = math.dist((0.0,) * prediction.ndim, [n * s for n, s in zip(prediction.shape, spacing, strict=True)])
        flag = "reference_empty" if some[0] else "prediction_empty"
        return {"dice": 0.0, "nsd": 0.0, **dict.fromkeys(DISTANCES, diagonal), "flag": flag}
    overlap = dice(prediction, reference)
    first, second, spacing = _crop(prediction, reference, spacing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI calls its own deprecated arguments
        return {"dice": overlap, **_surfaces(first, second, spacing, tolerance_mm), "flag": ""}


def _surfaces(
    prediction: torch.Tensor, reference: torch.Tensor, spacing: list[float], tolerance_mm: float
) -> dict[str, float]:
    forth = {"y_pred": prediction, "y": reference, "include_background": True, "spacing": spacing}
    back = {**forth, "y_pred": reference, "y": prediction}
    return {
        "nsd": float(compute_surface_dice(**forth, class_thresholds=[tolerance_mm], use_subvoxels=True)),
        "hd95_mm": float(compute_hausdorff_distance(**forth, percentile=95)),
        "assd_mm": float(compute_average_surface_distance(**forth, symmetric=True)),
        "asd_prediction_to_reference_mm": float(compute_average_surface_distance(**forth)),
        "asd_reference_to_prediction_mm": float(compute_average_surface_distance(**back)),
    }


def _crop(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Both masks as [1, 1, ...] around their union with a rim of background, without single-slice axes.

    MONAI crops too, but its treatment of the border is not part of its interface; with a rim of our own it cannot
    matter. A single voxel keeps all axes.
    """
    axes = tuple(a for a in range(prediction.ndim) if prediction.shape[a] > 1)
    if len(axes) < 2:
        axes = tuple(range(prediction.ndim))
    drop = tuple(a for a in range(prediction.ndim) if a not in axes)
    union = (prediction | reference).squeeze(drop)
    window = []
    for axis in range(union.ndim):
        hit = np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis)))
        window.append(slice(int(hit[0]), int(hit[-1]) + 1))
    masks = [np.pad(mask.squeeze(drop)[tuple(window)], 1) for mask in (prediction, reference)]
    first, second = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in masks)
    return first, second, [float(spacing[a]) for a in axes]
