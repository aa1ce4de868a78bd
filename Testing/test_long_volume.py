"""Memory of a job does not grow with the number of slices, but for the volume and its masks."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
from SegmentAnythingMedLib.apps.pipelines import segment_volume
from SegmentAnythingMedLib.engine import features, session
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel

SIDE = 96
KEPT = 1 << 18


class Wide(StubModel):
    """With features of 32 KiB for each slice."""

    def encode(self, images, frames):
        made = super().encode(images, frames)
        for one in made:
            one.tensors["more"] = np.zeros(1 << 14, dtype=np.float16)
        return made


def tube(slices: int) -> Volume:
    """Bright through all slices; no two slices are equal."""
    voxels = np.full((slices, SIDE, SIDE), 100, dtype=np.int16)
    voxels[:, 20:50, 20:50] = 160
    voxels[:, 0, 0] = np.arange(slices) % 100
    voxels[:, 0, 1] = np.arange(slices) // 100
    return Volume(voxels, Affine.from_parts(spacing=(1, 1, 1)), modality="MR")


def peak_beyond_masks(slices: int) -> float:
    """Bytes that a job allocates at most, less its label volume and its masks."""
    volume = tube(slices)
    tracemalloc.start()
    try:
        result = segment_volume(volume, [BoxPrompt((18, 18, 5), (52, 52, 5))], Wide(), window="100,160")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    masks = result.results["object"].masks
    assert len(masks) == slices
    return peak - result.labels.nbytes - sum(mask.nbytes for mask in masks.values())


@pytest.fixture(params=[True, False], ids=["disk", "no disk"])
def small(request, monkeypatch):
    """Bounds that a short volume exceeds."""
    monkeypatch.setattr(features, "RAM_BYTES", KEPT)
    monkeypatch.setattr(features, "RAM_BYTES_ALONE", KEPT)
    if not request.param:
        monkeypatch.setattr(session, "FeatureCache", partial(FeatureCache, overflow_bytes=0))


def test_ten_times_the_slices_take_no_more_memory(small):
    peak_beyond_masks(20)  # what is made once
    few, many = peak_beyond_masks(20), peak_beyond_masks(200)
    per_slice = (many - few) / 180
    assert per_slice < 4096, f"{per_slice:.0f} bytes a slice; features alone are {1 << 15}"
