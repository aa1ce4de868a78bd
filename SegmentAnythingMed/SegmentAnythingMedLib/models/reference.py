"""What an object looks like, read from a slice where it is known, for the built-in network.

A mask prompt from a neighbouring slice says where the object was; a *reference* says what it looked like and what
surrounded it. Three readings of it reach the decoder, all through zero-initialised layers, so that a network that
learns to use references starts as the one without:

- means of the features inside and outside the reference's mask condition the decoder's output tokens (the idea of the
  object pointer of SAM 2, Ravi et al. 2024, section 4);
- every cell of the slice looks for similar cells of the reference and reads whether those were inside (memory
  attention, ibid.), beside its likeness to the two means (target-guided attention of PerSAM, Zhang et al. 2023);
- the likeness to the means once more at stride 4, for the border.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEY_DIM, VALUE_DIM = 64, 32
FIRST_SHARPNESS = 12.0
"""Factor on cosines before the softmax over a reference's cells, where training starts."""

Reference = dict[str, Tensor]
"""Of R slices with C cells: ``keys`` [R, C, 64], ``values`` [R, C, 33]; means inside and outside ``means`` [R, 2, D],
``fine`` [R, 2, s4]."""


def weighted_means(features: Tensor, inside: Tensor) -> Tensor:
    """Means of features [R, D, G, G] where ``inside`` [R, 1, G, G] (0..1) and where it is not: [R, 2, D]."""
    weights = torch.cat([inside, 1 - inside], dim=1).flatten(2)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp_min(1e-3)
    return weights @ features.flatten(2).transpose(1, 2)


def likeness(features: Tensor, means: Tensor) -> Tensor:
    """Cosine of every cell [N, D, G, G] to the means [N, 2, D], both less the middle of the means: [N, 2, G, G]."""
    middle = means.mean(dim=1)
    cells = F.normalize(features - middle[:, :, None, None], dim=1)
    return torch.einsum("ndhw,nkd->nkhw", cells, F.normalize(means - middle[:, None], dim=2))


def joined(references: list[Reference]) -> Reference:
    """One reference [1, ...] of several [1, ...] of the same object: all cells, mean means."""
    if len(references) == 1:
        return references[0]
    return {
        name: torch.cat([r[name] for r in references], dim=1)
        if name in ("keys", "values")
        else torch.stack([r[name] for r in references]).mean(dim=0)
        for name in references[0]
    }


class ReferenceReader(nn.Module):
    """Makes references from features and masks, and reads them for other slices.

    Args:
        dim: channels of the image embedding.
        fine_dim: channels of the stride-4 skip; 0 without.
        tokens: output tokens of the decoder.
    """

    def __init__(self, dim: int, fine_dim: int, tokens: int) -> None:
        super().__init__()
        self.dim, self.fine_dim, self.tokens = dim, fine_dim, tokens
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, KEY_DIM)
        self.key = nn.Linear(dim, KEY_DIM)
        nn.init.orthogonal_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        self.key.load_state_dict(self.query.state_dict())
        self.value = nn.Linear(dim + 1, VALUE_DIM)
        self.log_sharpness = nn.Parameter(torch.tensor(FIRST_SHARPNESS).log())
        self.pointer = nn.Sequential(
            nn.LayerNorm(2 * (dim + fine_dim)), nn.Linear(2 * (dim + fine_dim), 256), nn.GELU(),
            nn.Linear(256, tokens * dim),
        )  # fmt: skip
        self.dense = nn.Conv2d(VALUE_DIM + 3, dim, 1)
        self.border = nn.Conv2d(2, fine_dim, 1) if fine_dim else None
        for layer in (self.pointer[-1], self.dense, *([self.border] if self.border is not None else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def refer(self, features: dict[str, Tensor], masks: Tensor) -> Reference:
        """References of R slices.

        Args:
            features: from the image encoder, R images.
            masks: [R, 1, h, w] in 0..1, the object on them; h a multiple of the stride-4 grid.
        """
        embedding = features["embedding"]
        inside = F.adaptive_avg_pool2d(masks, embedding.shape[-2:])
        cells = self.norm(embedding.flatten(2).transpose(1, 2))
        share = inside.flatten(2).transpose(1, 2)
        reference = {
            "keys": F.normalize(self.key(cells), dim=2),
            "values": torch.cat([share, self.value(torch.cat([cells, share], dim=2))], dim=2),
            "means": weighted_means(embedding, inside),
        }
        if self.fine_dim:
            fine = features["skip4"]
            reference["fine"] = weighted_means(fine, F.adaptive_avg_pool2d(masks, fine.shape[-2:]))
        return reference

    def recall(self, embedding: Tensor, reference: Reference) -> Tensor:
        """What the cells of references say that look like those of the slices.

        Args:
            embedding: [N, D, G, G].
            reference: N references.

        Returns:
            [N, 33, G, G]; the first channel is the part of the similar cells' area that the object covered, 0..1.
        """
        count, _, rows, cols = embedding.shape
        queries = F.normalize(self.query(self.norm(embedding.flatten(2).transpose(1, 2))), dim=2)
        match = (queries @ reference["keys"].transpose(1, 2) * self.log_sharpness.exp().clamp_max(100)).softmax(dim=2)
        return (match @ reference["values"]).transpose(1, 2).reshape(count, -1, rows, cols)

    def forward(self, features: dict[str, Tensor], reference: Reference) -> tuple[Tensor, Tensor, Tensor | None]:
        """What references say about slices, row by row.

        Args:
            features: ``embedding`` [N, D, G, G] and ``skip4`` [N, s4, 2 G, 2 G] of the slices.
            reference: N references.

        Returns:
            Additions to the output tokens [N, tokens, D], to the dense embedding [N, D, G, G] and to the stride-4 skip
            [N, s4, 2 G, 2 G] (None without skips).
        """
        embedding, count = features["embedding"], len(features["embedding"])
        dense = self.dense(
            torch.cat([self.recall(embedding, reference), likeness(embedding, reference["means"])], dim=1)
        )
        means, border = reference["means"], None
        if self.border is not None:
            border = self.border(likeness(features["skip4"], reference["fine"]))
            means = torch.cat([means, reference["fine"]], dim=2)
        tokens = self.pointer(means.flatten(1)).view(count, self.tokens, self.dim)
        return tokens, dense, border
