"""Rigid alignment of two visits by mutual information inside the body."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..progress import Progress
from .transforms import VisitTransform
from .working_images import FEWEST_SLICES, WorkingImage

BINS = 32
SEED = 20
_SAMPLES = 12_000
_LEAST_OVERLAP = 0.15
"""Share of the smaller body that must be covered by the other for a start to be considered at all."""

_SHIFTS_MM = (-80.0, -40.0, -20.0, 0.0, 20.0, 40.0, 80.0)
_SMOOTHING_MM = (4.0, 2.0, 0.0)
"""Of each level, coarse to fine."""

_RIVAL = 0.75
"""A second start is tried when its mutual information is at least this part of the first one's."""


def align_rigidly(prior: WorkingImage, follow_up: WorkingImage, progress: Progress) -> VisitTransform:
    """The rigid transform follow-up -> prior with the highest mutual information (Mattes et al. 2003).

    Starts considered: equal places in patient space, body centroid on body centroid, middle on middle, each also moved
    along the patient's long axis; the best two are refined and the better result is kept. Sampling is seeded and one
    thread does the sums, so that equal images give equal numbers.

    Raises:
        InputError: ``visits.overlap`` when no start lets the two bodies overlap.
    """
    starts = _starts(prior, follow_up)
    if not starts:
        raise InputError(
            "visits.overlap",
            "The two visits show nothing in common: no position lets the bodies overlap. Check that both images show"
            " the same part of the body, or segment by appearance alone, without a registration.",
        )
    best, lowest = None, np.inf
    for value, offset in starts[:2]:
        if best is not None and value > _RIVAL * starts[0][0]:
            break
        transform, value = _refine(prior, follow_up, offset, progress)
        if value < lowest:
            best, lowest = transform, value
    return best


def _starts(prior: WorkingImage, follow_up: WorkingImage) -> list[tuple[float, np.ndarray]]:
    """(metric, translation) of every start with enough overlap, best first; similar ones left out."""
    bases = [np.zeros(3), prior.centre - follow_up.centre, prior.middle - follow_up.middle]
    offsets = [base + np.array([0.0, 0.0, shift]) for base in bases for shift in _SHIFTS_MM]
    coarse = [sitk.Shrink(image, [_shrink(image, n, 8.0) for n in range(3)]) for image in
              (prior.image, prior.body, follow_up.image, follow_up.body)]  # fmt: skip
    moving, moving_body, fixed, fixed_body = coarse
    found: list[tuple[float, np.ndarray]] = []
    for offset in offsets:
        if all(np.linalg.norm(offset - other) > 5.0 for _, other in found) and (
            _overlap(fixed_body, moving_body, offset) >= _LEAST_OVERLAP
        ):
            method = _method(fixed_body, moving_body)
            method.SetMetricSamplingStrategy(method.NONE)
            method.SetInitialTransform(sitk.TranslationTransform(3, offset.tolist()))
            found.append((_evaluate(method, fixed, moving), offset))
    return sorted(found, key=lambda item: item[0])


def _refine(
    prior: WorkingImage, follow_up: WorkingImage, offset: np.ndarray, progress: Progress
) -> tuple[VisitTransform, float]:
    centre = follow_up.centre
    flat = min(follow_up.slices, prior.slices) < FEWEST_SLICES  # too thin to tell a tilt
    start = (
        sitk.TranslationTransform(3, offset.tolist())
        if flat
        else sitk.Euler3DTransform(centre.tolist(), 0.0, 0.0, 0.0, offset.tolist())
    )
    method = _method(follow_up.body, prior.body)
    _sample(method, follow_up.image, _SAMPLES)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, 120, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([1] * len(_SMOOTHING_MM))
    method.SetSmoothingSigmasPerLevel(list(_SMOOTHING_MM))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.AddCommand(sitk.sitkIterationEvent, lambda: method.StopRegistration() if progress.cancelled else None)
    execute(method, follow_up.image, prior.image)
    progress.check()
    return VisitTransform(start, "registration"), float(method.GetMetricValue())


def _method(fixed_body: sitk.Image, moving_body: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(fixed_body)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)  # sums of several threads come in any order, and results would differ
    method.SetNumberOfWorkUnits(1)
    return method


def _sample(method: sitk.ImageRegistrationMethod, image: sitk.Image, samples: int) -> None:
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, samples / image.GetNumberOfPixels()), SEED)


def execute(method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image) -> None:
    """Run a registration; what ITK cannot do becomes an error of ours.

    Raises:
        InputError: ``visits.registration``.
    """
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        raise InputError(
            "visits.registration",
            "The two images could not be registered: they show too little in common. Give a transform, or segment by"
            " appearance alone.",
        ) from error


def _evaluate(method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image) -> float:
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # too few samples of one fall on the other
        return np.inf


def _overlap(fixed: sitk.Image, moving: sitk.Image, offset: np.ndarray) -> float:
    """Share of the smaller body that the other covers."""
    there = sitk.Resample(moving, fixed, sitk.TranslationTransform(3, offset.tolist()), sitk.sitkNearestNeighbor, 0)
    one, other = sitk.GetArrayViewFromImage(fixed) > 0, sitk.GetArrayViewFromImage(there) > 0
    mm3 = [float(np.prod(image.GetSpacing())) for image in (fixed, moving)]
    smaller = min(np.count_nonzero(one) * mm3[0], np.count_nonzero(sitk.GetArrayViewFromImage(moving)) * mm3[1])
    return np.count_nonzero(one & other) * mm3[0] / max(smaller, 1e-9)


def _shrink(image: sitk.Image, axis: int, spacing_mm: float) -> int:
    return max(1, min(round(spacing_mm / image.GetSpacing()[axis]), image.GetSize()[axis] // 3))
