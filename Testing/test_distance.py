"""Distances of token sets: exact transport against linear programming, bounds, ablations, empty sets."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist
from SegmentAnythingMedLib.adaptive.distance import (
    DISTANCES,
    at_least,
    distance_named,
    hungarian,
    jensen_shannon,
    wasserstein,
)
from SegmentAnythingMedLib.adaptive.parts import part_prototypes, unit
from SegmentAnythingMedLib.errors import InputError

pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")


def tokens(count, seed, shift=0.0, width=32):
    return (np.random.default_rng(seed).normal(size=(count, width)) * 3 + shift).astype(np.float32)


def by_linear_programming(first, second):
    cost = cdist(first.astype(float), second.astype(float), "sqeuclidean")
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    cols = np.kron(np.ones(n), np.eye(m))
    marginals = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost.ravel(), A_eq=np.vstack([rows, cols]), b_eq=marginals, method="highs").fun


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 20), (20, 7), (40, 59)])
def test_wasserstein_is_the_optimum(n, m):
    first, second = tokens(n, n), tokens(m, m + 1, 0.7)
    assert wasserstein(first, second) == pytest.approx(by_linear_programming(first, second), rel=1e-6)


def test_wasserstein_of_a_set_with_itself_is_zero_and_order_does_not_matter():
    first, second = tokens(30, 0), tokens(23, 1, 0.5)
    shuffled = np.random.default_rng(2).permutation(first)
    assert wasserstein(first, shuffled) == pytest.approx(0, abs=1e-6)
    assert wasserstein(first, second) == pytest.approx(wasserstein(second, shuffled))
    assert wasserstein(np.repeat(first, 2, axis=0), second) == pytest.approx(wasserstein(first, second))


def test_wasserstein_of_a_shift_is_its_squared_length():
    first = tokens(12, 3)
    assert wasserstein(first, first + 2) == pytest.approx(4 * 32, rel=1e-5)
    assert wasserstein(first * 1e4, first * 1e4 + 2e4) == pytest.approx(4e8 * 32, rel=1e-5)


def test_the_lower_bound_is_one():
    for seed in range(5):
        first, second = tokens(15, seed), tokens(22, seed + 10, seed / 3)
        assert at_least(first.mean(axis=0), second) <= wasserstein(first, second) + 1e-6


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_every_distance_prefers_the_same_set_and_is_infinite_for_nothing(name):
    measure = distance_named(name)
    first, near, far = tokens(60, 0), tokens(50, 1), tokens(50, 2, 4.0)
    assert 0 <= measure(first, near) < measure(first, far)
    assert measure(first, first[:0]) == measure(first[:0], first) == np.inf
    assert measure(first, first) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(measure(first[:1], far[:1]))


def test_jensen_shannon_is_bounded_and_hungarian_knows_equal_tokens():
    assert jensen_shannon(tokens(80, 0), tokens(80, 1, 50.0)) <= np.log(2) + 1e-9
    same = np.ones((6, 8), dtype=np.float32)
    assert hungarian(same, same + 1) == pytest.approx(np.sqrt(8))
    assert jensen_shannon(same, same) == pytest.approx(0)


def test_unknown_distance_is_refused():
    with pytest.raises(InputError) as caught:
        distance_named("euclid")
    assert caught.value.code == "option.distance"


def test_parts_are_clusters_of_raw_tokens_and_their_prototypes_have_length_one():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16) * 20
    cloud = np.concatenate([c + rng.normal(size=(9, 16)) for c in centres]).astype(np.float32)
    found = part_prototypes(cloud, 3)
    wanted = unit(np.stack([cloud[9 * n : 9 * n + 9].mean(axis=0) for n in range(3)]))
    order = np.argmax(found @ wanted.T, axis=1)
    assert sorted(order) == [0, 1, 2]
    assert np.allclose(found, wanted[order], atol=1e-5)
    assert np.array_equal(found, part_prototypes(cloud, 3))
    assert np.allclose(part_prototypes(cloud, 1), unit(cloud.mean(axis=0, keepdims=True)))


def test_parts_of_too_few_or_equal_tokens():
    few = tokens(3, 0)
    assert part_prototypes(few, 4) is None
    assert part_prototypes(few[:0], 1) is None
    assert len(part_prototypes(np.repeat(few[:1], 5, axis=0), 3)) == 1


@pytest.mark.parametrize("package", ["ot", "sklearn.cluster"])
def test_a_missing_package_names_the_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"segment-anything-med\[adaptive\]") as caught:
        wasserstein(tokens(3, 0), tokens(3, 1)) if package == "ot" else part_prototypes(tokens(5, 0), 2)
    assert caught.value.code == "adaptive.package"
