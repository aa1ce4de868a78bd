"""Parts of an object: k-means of its tokens, and one direction per part to look for on another slice."""

from __future__ import annotations

import warnings

import numpy as np

from .packages import k_means_class


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., C] of length 1; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def part_prototypes(tokens: np.ndarray, parts: int, restarts: int = 10, algorithm: str = "elkan") -> np.ndarray | None:
    """Mean tokens of the parts of an object, of length 1.

    k-means runs on the raw tokens (not normalised), with the settings of the scikit-learn release that P2SAM's code
    pins: k-means++ from seed 0, 10 restarts (newer releases make one), 300 iterations, tolerance 1e-4, Elkan's form.
    Lloyd's form gives the same up to rounding and takes a tenth of the time for few tokens.

    Args:
        tokens: float32 [N, C], raw.
        parts: how many, at least 1.
        restarts: of k-means.
        algorithm: ``elkan`` or ``lloyd``.

    Returns:
        float32 [parts, C]; fewer rows when several tokens are equal; None when there are fewer tokens than parts.

    Raises:
        InputError: ``adaptive.package``.
    """
    if len(tokens) < max(parts, 1):
        return None
    if parts == 1:
        return unit(tokens.mean(axis=0, keepdims=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct tokens than parts: the empty parts are left out below
        fitted = k_means_class()(
            parts, init="k-means++", n_init=restarts, max_iter=300, tol=1e-4, random_state=0, algorithm=algorithm
        ).fit(np.ascontiguousarray(tokens, dtype=np.float32))
    members = [tokens[fitted.labels_ == part] for part in range(parts)]
    return unit(np.stack([part.mean(axis=0) for part in members if len(part)]))
