"""Mutual information: known values, and a gradient that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.adaptive.mutual_information import mutual_information, normalised


def levels(count=4, size=4000):
    """Grey values that lie exactly on bins, all equally often."""
    return torch.from_numpy(np.repeat(np.linspace(0, 1, count), size // count).astype(np.float32))


def test_equal_images_tell_all_there_is_and_independent_ones_nothing():
    image = levels()
    assert float(mutual_information(image, image, bins=4)) == pytest.approx(np.log(4), abs=1e-4)
    assert float(mutual_information(image, 1 - image, bins=4)) == pytest.approx(np.log(4), abs=1e-4)
    other = image.reshape(4, -1).T.flatten()
    assert float(mutual_information(image, other, bins=4)) == pytest.approx(0, abs=1e-4)
    values = image.numpy()
    assert normalised(values, 1 - values) == pytest.approx(1, abs=1e-6)
    assert normalised(values, other.numpy()) == pytest.approx(0, abs=1e-6)
    assert normalised(np.zeros(10), np.zeros(10)) == 0.0


def test_the_gradient_is_the_slope():
    random = np.random.default_rng(0)
    fixed = torch.from_numpy(random.random(300).astype(np.float32))
    moving = (0.7 * fixed + 0.3 * torch.from_numpy(random.random(300).astype(np.float32))).requires_grad_()
    value = mutual_information(fixed, moving, bins=8)
    value.backward()
    step = 1e-3 * torch.sign(moving.grad)
    with torch.no_grad():
        slope = mutual_information(fixed, moving + step, bins=8) - mutual_information(fixed, moving - step, bins=8)
    assert float(slope) == pytest.approx(2 * float((moving.grad * step).sum()), rel=0.1)


def test_values_outside_0_to_1_are_cut():
    image = levels()
    assert float(mutual_information(image * 3 - 1, image, bins=4)) <= np.log(4) + 1e-4
