"""Three candidate masks weighed by two numbers that are fitted on the reference (Zhang et al. 2023, PerSAM-F)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

STEPS, RATE = 1000, 1e-3
BIN = 0.25
"""Width of a bin of logits, see ``_alike_pixels``."""


def fitted_weights(logits: np.ndarray, mask: np.ndarray, *, steps: int = STEPS, rate: float = RATE) -> np.ndarray:
    """Weights of the candidate masks that suit the reference best; the network itself is not touched.

    The candidates do not depend on the weights, so they are decoded once and the steps cost milliseconds: AdamW, cosine
    rate, Dice loss (smooth 1) plus focal loss (alpha 0.25, gamma 2), from equal weights.

    Args:
        logits: float32 [3, H, W] of the reference slice.
        mask: bool [H, W], the truth.
        steps: of training.
        rate: first learning rate.

    Returns:
        float64 [3], summing to one.
    """
    candidates, truth, counts = _alike_pixels(logits, mask)
    free = torch.full((2,), 1.0 / 3.0, requires_grad=True)
    optimiser = torch.optim.AdamW([free], lr=rate, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        _loss(_all_three(free) @ candidates, truth, counts).backward()
        optimiser.step()
        schedule.step()
    return _all_three(free).detach().double().numpy()


def fused(logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum float32 [H, W] of candidates [3, H, W]."""
    return np.tensordot(weights, logits, axes=1).astype(np.float32)


def _all_three(free: torch.Tensor) -> torch.Tensor:
    return torch.cat([1 - free.sum()[None], free])


def _alike_pixels(logits: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Pixels of the same truth and nearly the same candidates as one: mean logits [3, B], truth [B], counts [B].

    Most pixels of a slice are surely background. Sorting them into bins of ``BIN`` makes a step ten times as cheap; the
    error is of second order in the bin's width, since bins are stood for by their means.
    """
    flat, truth = logits.reshape(len(logits), -1).astype(np.float64), mask.reshape(-1)
    steps = np.clip(np.floor(flat / BIN), -256, 255).astype(np.int64) + 256
    keys = ((steps[0] * 512 + steps[1]) * 512 + steps[2]) * 2 + truth
    found, bins, counts = np.unique(keys, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(bins, weights=row) for row in flat]) / counts
    return tuple(torch.from_numpy(array).float() for array in (means, found % 2, counts))


def _loss(logits: torch.Tensor, truth: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    chance = logits.sigmoid()
    dice = 1 - (2 * (counts * chance * truth).sum() + 1) / ((counts * (chance + truth)).sum() + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    right = chance * truth + (1 - chance) * (1 - truth)
    focal = (0.75 - 0.5 * truth) * (1 - right) ** 2 * entropy
    return dice + (counts * focal).sum() / counts.sum()
