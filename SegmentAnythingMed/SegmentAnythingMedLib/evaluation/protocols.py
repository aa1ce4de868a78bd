"""How the built-in model (any model) is measured: a robot user prompts, the answer meets the reference.

Three protocols, each beside what needs no model at all: a box on single slices, a point with correction rounds
(MedicoSAM's evaluation), and one box on the middle slice propagated through the volume. Objects on single slices are
the 8-connected components of at least ``MIN_PIXELS`` pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..engine.session import Session
from ..prompts.simulation import correction_pair, first_point, jitter_box
from ..prompts.types import Box, SlicePrompts
from ..propagation.settings import PropagationSettings
from ..propagation.walk import propagate
from .baselines import ellipse_in_box, ellipsoid_of_box, fill_box, growcut_of_box, otsu_in_box, otsu_walk
from .metrics import dice, extent_errors

MIN_PIXELS = 100
JITTER = 0.05
ROUNDS = 5


@dataclass(frozen=True, eq=False)
class SliceObject:
    """One component of a reference on one slice: its slice, its bool [H, W] mask, and a jittered box."""

    index: int
    mask: np.ndarray
    box: Box


def slice_objects(session: Session, reference: np.ndarray, rng: np.random.Generator) -> Iterator[SliceObject]:
    """Objects of a reference [K, J, I] on the slices of a session."""
    for index in range(session.count):
        parts, count = ndimage.label(session.stack.mask_slice(reference, index), structure=np.ones((3, 3)))
        for part in range(1, count + 1):
            mask = parts == part
            if np.count_nonzero(mask) >= MIN_PIXELS:
                yield SliceObject(index, mask, jitter_box(mask, JITTER, rng))


def mapped_slice(session: Session, index: int) -> np.ndarray:
    """A slice as the model and the baselines see it: float32 0..1, colour as it is."""
    return session.mapping.apply(session.stack.image(index))


def box_on_slices(session: Session, reference: np.ndarray, seed: int = 0) -> list[dict[str, Any]]:
    """Dice of the model and of fill, ellipse and Otsu in the same jittered box, per object and slice."""
    rows = []
    for item in slice_objects(session, reference, np.random.default_rng(seed)):
        shape = item.mask.shape
        answer = session.predict(item.index, SlicePrompts(box=item.box))
        rows.append(
            {
                "slice": item.index,
                "pixels": int(np.count_nonzero(item.mask)),
                "model": dice(answer.mask, item.mask),
                "fill": dice(fill_box(shape, item.box), item.mask),
                "ellipse": dice(ellipse_in_box(shape, item.box), item.mask),
                "otsu": dice(otsu_in_box(mapped_slice(session, item.index), item.box), item.mask),
                "predicted_iou": answer.predicted_iou,
            }
        )
    return rows


def point_with_corrections(
    session: Session, reference: np.ndarray, seed: int = 0, rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """Dice after one point at the object's deepest place, then after each round of a positive and a negative point."""
    rng = np.random.default_rng(seed)
    rows = []
    for item in slice_objects(session, reference, rng):
        points, labels = [first_point(item.mask)], [1]
        answer = session.predict(item.index, SlicePrompts(np.array(points), np.array(labels)))
        scores = [dice(answer.mask, item.mask)]
        for _ in range(rounds):
            for point, label in correction_pair(item.mask, answer.mask, rng, ring_px=5):
                points.append(point)
                labels.append(label)
            prompts = SlicePrompts(np.array(points, dtype=np.float64), np.array(labels))
            answer = session.predict(item.index, prompts, previous=answer)
            scores.append(dice(answer.mask, item.mask))
        rows.append({"slice": item.index, "pixels": int(np.count_nonzero(item.mask)), "dice": scores})
    return rows


def middle_slice(session: Session, reference: np.ndarray) -> int | None:
    """The labelled slice nearest to the middle of the extent (MedicoSAM's rule); None for an empty reference."""
    labelled = [n for n in range(session.count) if session.stack.mask_slice(reference, n).any()]
    if not labelled:
        return None
    middle = (labelled[0] + labelled[-1]) // 2
    return min(labelled, key=lambda n: (abs(n - middle), n))


def box_propagated(
    session: Session, reference: np.ndarray, settings: PropagationSettings | None = None, seed: int = 0
) -> dict[str, Any]:
    """Volume Dice of one jittered box on the middle slice, propagated, beside Otsu walk, ellipsoid and GrowCut."""
    index = middle_slice(session, reference)
    stack = session.stack
    truth = np.stack([stack.mask_slice(reference, n) for n in range(session.count)])
    box = jitter_box(truth[index], JITTER, np.random.default_rng(seed))
    result = propagate(session, {index: SlicePrompts(box=box)}, settings)
    predicted = result.stack()
    grey = np.stack([mapped_slice(session, n) for n in range(session.count)])
    spacing = (session.pixel_spacing, session.slice_spacing)
    baselines = {
        "otsu_walk": otsu_walk(grey, index, box),
        "ellipsoid": ellipsoid_of_box(truth.shape, index, box, *spacing),
        "growcut": growcut_of_box(grey, index, box, *spacing),
    }
    extent = extent_errors(predicted, truth, session.slice_spacing)
    return {
        "seed_slice": index,
        "seed_dice": dice(predicted[index], truth[index]),
        "model": dice(predicted, truth),
        **{name: dice(mask, truth) for name, mask in baselines.items()},
        "extent_error_mm": None if extent is None else [round(e, 2) for e in extent],
        "ends": [result.end_lower, result.end_upper],
        "slices": [int(np.count_nonzero(predicted.any(axis=(1, 2)))), int(np.count_nonzero(truth.any(axis=(1, 2))))],
        "encodes": session.counters.encodes,
    }
