"""Rigid alignment of two visits by mutual information inside the body."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..progress import Progress
from .mutual_information import normalised
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
"""A second start is tried when its score is at least this part of the first one's."""

_STAY = 1.25
"""How much more alike a far start must make the visits than they are near where they lie, to be believed."""

_COVERED = 0.7
"""Share of the smaller body that must be covered for a similarity to count in full: little overlap is easily alike."""


def align_rigidly(
    prior: WorkingImage, follow_up: WorkingImage, progress: Progress, same_frame: bool = False
) -> VisitTransform:
    """The rigid transform follow-up -> prior with the highest mutual information (Mattes et al. 2003).

    Starts considered: equal places in patient space, body centroid on body centroid, middle on middle, each also moved
    along the patient's long axis; the first and the best two others are refined. What is kept is what makes the bodies
    most alike (normalised mutual information times coverage), where far starts must be clearly better. Sampling is
    seeded and one thread does the sums, so that equal images give equal numbers.

    Args:
        prior: the prior visit.
        follow_up: today's visit.
        progress: asked after every iteration.
        same_frame: both visits have one frame of reference: only equal places are a start.

    Raises:
        InputError: ``visits.overlap`` when no start lets the two bodies overlap.
    """
    starts = _starts(prior, follow_up, same_frame)
    if not starts:
        raise InputError(
            "visits.overlap",
            "The two visits show nothing in common: no position lets the bodies overlap. Check that both images show"
            " the same part of the body, or segment by appearance alone, without a registration.",
        )
    near = [VisitTransform.identity()]
    near += [_refine(prior, follow_up, offset, progress) for _, offset in starts if not offset.any()]
    far = [(score, offset) for score, offset in starts if offset.any()]
    far = [_refine(prior, follow_up, offset, progress) for score, offset in far[:2] if score >= _RIVAL * starts[0][0]]

    def merit(transform: VisitTransform) -> float:
        """How alike the visits are under a transform."""
        return likeness(prior, follow_up, transform)

    return max([max(near, key=merit), *far], key=lambda one: merit(one) * (1.0 if one in far else _STAY))


def likeness(prior: WorkingImage, follow_up: WorkingImage, transform: VisitTransform) -> float:
    """Normalised mutual information of the bodies where both visits show them, less where that is little, 0..1."""
    there = sitk.GetArrayFromImage(sitk.Resample(prior.image, follow_up.image, transform.itk, sitk.sitkLinear, -1.0))
    here, body = (sitk.GetArrayFromImage(image) for image in (follow_up.image, follow_up.body))
    shared = (body > 0) & (there >= 0)
    voxel, other = (float(np.prod(image.GetSpacing())) for image in (follow_up.body, prior.body))
    smaller = min(np.count_nonzero(body) * voxel, np.count_nonzero(sitk.GetArrayFromImage(prior.body)) * other)
    coverage = np.count_nonzero(shared) * voxel / max(smaller, 1e-9)
    return 0.0 if not shared.any() else normalised(here[shared], there[shared]) * min(1.0, coverage / _COVERED)


def _starts(prior: WorkingImage, follow_up: WorkingImage, same_frame: bool) -> list[tuple[float, np.ndarray]]:
    """(score, translation) of every start with enough overlap, best first; similar ones left out."""
    bases = [np.zeros(3), prior.centre - follow_up.centre, prior.middle - follow_up.middle]
    offsets = [base + np.array([0.0, 0.0, shift]) for base in bases for shift in _SHIFTS_MM]
    offsets = offsets if not same_frame else [np.zeros(3)]
    coarse = [sitk.Shrink(image, [_shrink(image, n, 8.0) for n in range(3)]) for image in
              (prior.image, prior.body, follow_up.image, follow_up.body)]  # fmt: skip
    moving, moving_body, fixed, fixed_body = coarse
    found: list[tuple[float, np.ndarray]] = []
    for offset in offsets:
        if any(np.linalg.norm(offset - other) <= 5.0 for _, other in found):
            continue
        overlap = _overlap(fixed_body, moving_body, offset)
        if overlap >= _LEAST_OVERLAP:
            method = _method(fixed_body)
            method.SetMetricSamplingStrategy(method.NONE)
            method.SetInitialTransform(sitk.TranslationTransform(3, offset.tolist()))
            found.append((_evaluate(method, fixed, moving) * min(1.0, overlap / _COVERED), offset))
    return sorted(found, key=lambda item: -item[0])


def _refine(prior: WorkingImage, follow_up: WorkingImage, offset: np.ndarray, progress: Progress) -> VisitTransform:
    centre = follow_up.centre
    flat = min(follow_up.slices, prior.slices) < FEWEST_SLICES  # too thin to tell a tilt
    start = (
        sitk.TranslationTransform(3, offset.tolist())
        if flat
        else sitk.Euler3DTransform(centre.tolist(), 0.0, 0.0, 0.0, offset.tolist())
    )
    method = _method(follow_up.body)
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
    return VisitTransform(start, "registration")


def _method(fixed_body: sitk.Image) -> sitk.ImageRegistrationMethod:
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
        return max(0.0, -float(method.MetricEvaluate(fixed, moving)))
    except RuntimeError:  # too few samples of one fall on the other
        return 0.0


def _overlap(fixed: sitk.Image, moving: sitk.Image, offset: np.ndarray) -> float:
    """Share of the smaller body that the other covers."""
    there = sitk.Resample(moving, fixed, sitk.TranslationTransform(3, offset.tolist()), sitk.sitkNearestNeighbor, 0)
    one, other = sitk.GetArrayViewFromImage(fixed) > 0, sitk.GetArrayViewFromImage(there) > 0
    mm3 = [float(np.prod(image.GetSpacing())) for image in (fixed, moving)]
    smaller = min(np.count_nonzero(one) * mm3[0], np.count_nonzero(sitk.GetArrayViewFromImage(moving)) * mm3[1])
    return np.count_nonzero(one & other) * mm3[0] / max(smaller, 1e-9)


def _shrink(image: sitk.Image, axis: int, spacing_mm: float) -> int:
    return max(1, min(round(spacing_mm / image.GetSpacing()[axis]), image.GetSize()[axis] // 3))
