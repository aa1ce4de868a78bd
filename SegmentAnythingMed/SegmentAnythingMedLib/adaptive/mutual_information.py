"""How much two images tell about each other: with a gradient for optimising, as a plain number for reports."""

from __future__ import annotations

import numpy as np
import torch

BINS = 32
_TINY = 1e-10


def mutual_information(fixed: torch.Tensor, moving: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Mutual information in nats, differentiable with respect to ``moving``.

    Linear Parzen windows for both images (Mattes et al. 2003 use a cubic one for the moving image).

    Args:
        fixed: float32 [N], grey values 0..1.
        moving: float32 [N], grey values 0..1.
        bins: per image.

    Returns:
        Scalar tensor.
    """
    joint = torch.zeros(bins * bins, dtype=torch.float32)
    f, m = fixed.clamp(0, 1) * (bins - 1), moving.clamp(0, 1) * (bins - 1)
    f0, m0 = f.detach().floor().clamp(max=bins - 2), m.detach().floor().clamp(max=bins - 2)
    wf, wm = f - f0, m - m0
    corner = (f0 * bins + m0).long()
    for offset, weight in ((0, (1 - wf) * (1 - wm)), (1, (1 - wf) * wm), (bins, wf * (1 - wm)), (bins + 1, wf * wm)):
        joint = joint.index_add(0, corner + offset, weight)
    joint = joint.reshape(bins, bins) / max(len(fixed), 1)
    return -_entropy(joint) + _entropy(joint.sum(0)) + _entropy(joint.sum(1))


def normalised(fixed: np.ndarray, moving: np.ndarray, bins: int = BINS) -> float:
    """Normalised mutual information, 2 I(A, B) / (H(A) + H(B)): 0 for independent images, 1 for equal ones.

    Args:
        fixed: [N], grey values 0..1.
        moving: [N], grey values 0..1.
        bins: per image.
    """
    joint, _, _ = np.histogram2d(fixed, moving, bins=bins, range=((0, 1), (0, 1)))
    joint = torch.from_numpy(joint / max(joint.sum(), 1))
    rows, columns, both = (float(_entropy(part)) for part in (joint.sum(1), joint.sum(0), joint))
    return 0.0 if rows + columns <= 0 else min(1.0, max(0.0, 2.0 * (rows + columns - both) / (rows + columns)))


def _entropy(probabilities: torch.Tensor) -> torch.Tensor:
    return -(probabilities * (probabilities + _TINY).log()).sum()
