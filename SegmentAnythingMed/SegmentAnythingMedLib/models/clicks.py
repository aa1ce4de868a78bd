"""Clicks as maps, for the built-in network: where they are, and what looks like the places that were clicked.

SAM tells its decoder of a click through a token alone. A network as small as the built-in one hardly moves a border
for a token; shown as a map beside the image, a click counts where it lies (the idea of click maps in interactive
segmentation: Sofiiuk et al. 2022, "Reviving iterative training with mask guidance", section 3). The likeness of every
cell to the clicked ones (PerSAM, Zhang et al. 2023, section 3.1, with the click in place of the reference) tells how
far an object of that look reaches. Both enter through zero-initialised layers: a network that learns to use them starts
as the one without.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RADIUS = 1.5
"""Of a click's spot on a map, in cells."""


class ClickReader(nn.Module):
    """What the clicks of prompts add to the dense embedding and to the stride-4 skip.

    Args:
        dim: channels of the image embedding.
        fine_dim: channels of the stride-4 skip; 0 without.
    """

    def __init__(self, dim: int, fine_dim: int) -> None:
        super().__init__()
        self.dense = nn.Conv2d(4, dim, 3, padding=1)
        self.fine = nn.Conv2d(4, fine_dim, 3, padding=1) if fine_dim else None
        for layer in (self.dense, *([self.fine] if self.fine is not None else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: dict[str, Tensor], coords: Tensor, positive: Tensor, negative: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Additions for N prompts.

        Args:
            features: ``embedding`` [N, D, G, G] and ``skip4`` [N, s4, 2 G, 2 G] of the slices of the prompts.
            coords: [N, T, 2] network pixels (x, y), pixel centres at whole numbers.
            positive: bool [N, T], which of them are positive clicks; negative: likewise.

        Returns:
            For the dense embedding [N, D, G, G] and for the stride-4 skip [N, s4, 2 G, 2 G] (None without skips).
        """
        unit = (coords + 0.5) / (8 * features["embedding"].shape[-1])
        dense = self.dense(click_maps(features["embedding"], unit, positive, negative))
        if self.fine is None:
            return dense, None
        return dense, self.fine(click_maps(features["skip4"], unit, positive, negative))


def click_maps(features: Tensor, unit: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Spots of the clicks and likeness to the clicked cells.

    Args:
        features: [N, C, G, G].
        unit: [N, T, 2], (x, y) in 0..1 of the input.
        positive: bool [N, T]; negative: bool [N, T].

    Returns:
        [N, 4, G, G]: spots of the positive and of the negative clicks in 0..1, largest cosine to a positive and to a
        negative one in -1..1; all 0 where there is no click of that kind.
    """
    rows, cols = features.shape[-2:]
    y = (torch.arange(rows, device=features.device, dtype=unit.dtype) + 0.5)[None, None, :, None]
    x = (torch.arange(cols, device=features.device, dtype=unit.dtype) + 0.5)[None, None, None, :]
    away = (x - unit[..., 0, None, None] * cols) ** 2 + (y - unit[..., 1, None, None] * rows) ** 2
    spots = torch.exp(-away / (2 * RADIUS**2))
    centred = F.normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)
    clicked = F.grid_sample(centred, 2 * unit[:, :, None] - 1, align_corners=False, padding_mode="border")[..., 0]
    alike = torch.einsum("nchw,nct->nthw", centred, F.normalize(clicked, dim=1))
    maps = [_largest(values, kind) for values in (spots, alike) for kind in (positive, negative)]
    return torch.stack(maps, dim=1)


def _largest(values: Tensor, of: Tensor) -> Tensor:
    """Largest value [N, h, w] over the clicks [N, T, h, w] for which ``of`` [N, T] holds; 0 where it holds for none."""
    largest = values.masked_fill(~of[..., None, None], -2.0).amax(dim=1)
    return torch.where(of.any(dim=1)[:, None, None], largest, torch.zeros_like(largest))
