"""The network of the built-in model: a light image encoder in front of SAM's prompt encoder and mask decoder.

The encoder is a small convolutional pyramid with transformer blocks at stride 16; laterals from strides 4, 8 and 16 are
fused at stride 8. The prompt encoder and the two-way transformer decoder are those of SAM (Kirillov et al. 2023,
section 3 and appendix A) at 128 channels; as in SAM 2 (Ravi et al. 2024, appendix D) the decoder's up-scaling also sees
features of strides 4 and 2, since thin walls do not survive stride 8. All prompts of a batch are decoded in one call.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clicks import ClickReader
from .hybrid_encoder import HybridConfig, HybridEncoder
from .reference import Reference, ReferenceReader
from .sam_blocks import decoder_blocks

POINT_NEGATIVE, POINT_POSITIVE, BOX_FIRST, BOX_SECOND, PADDING = 0, 1, 2, 3, -1
"""Labels of prompt tokens, as in SAM: a box is two tokens; point prompts without a box carry one padding token."""


class PromptTokens(nn.Module):
    """SAM's prompt encoder: points, box corners and a low-resolution mask become tokens and a dense embedding."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.register_buffer("gaussian", torch.randn(2, dim // 2))
        self.kinds = nn.Embedding(5, dim)  # padding, negative, positive, first corner, second corner
        self.no_mask = nn.Parameter(torch.zeros(1, dim, 1, 1))
        # mask prompts come at stride 2 (S/2): two halvings more than the embedding's stride 8
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 16, 2, stride=2), nn.GroupNorm(1, 16), nn.GELU(),
            nn.Conv2d(16, 32, 2, stride=2), nn.GroupNorm(1, 32), nn.GELU(), nn.Conv2d(32, dim, 1),
        )  # fmt: skip

    def _encode(self, unit: Tensor) -> Tensor:
        angles = 2 * torch.pi * ((2 * unit - 1) @ self.gaussian)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def dense_position(self, grid: int) -> Tensor:
        """Positional code of an embedding grid of ``grid`` x ``grid`` cells, [1, D, G, G]."""
        steps = (torch.arange(grid, device=self.gaussian.device, dtype=self.gaussian.dtype) + 0.5) / grid
        cells = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
        return self._encode(cells).permute(2, 0, 1)[None]

    def forward(self, coords: Tensor, labels: Tensor, masks: Tensor, has_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and dense embedding of N prompts.

        Args:
            coords: [N, T, 2] network pixels (x, y), pixel centres at whole numbers.
            labels: [N, T] of the ``POINT_*``, ``BOX_*`` and ``PADDING`` constants.
            masks: [N, 1, S/2, S/2] logits; ignored where ``has_mask`` [N] is False.
        """
        grid = masks.shape[-1] // 4
        code = self._encode((coords + 0.5) / (8 * grid))
        code = torch.where((labels == PADDING)[..., None], torch.zeros_like(code), code)
        tokens = code + self.kinds(labels + 1)
        no_mask = self.no_mask.expand(len(coords), -1, grid, grid)
        if not bool(has_mask.any()):
            return tokens, no_mask
        dense = self.mask_downscaling(masks.clamp(-10, 10) / 5)
        return tokens, torch.where(has_mask[:, None, None, None], dense, no_mask)


def ellipse_prior(boxes: Tensor, side: int, size: int) -> Tensor:
    """Soft ellipses in boxes as mask prompts.

    Args:
        boxes: [N, 4] x0, y0, x1, y1 in network pixels, pixel centres at whole numbers.
        side: of the prompt, ``size / 2``.
        size: of the network input.

    Returns:
        float32 [N, 1, side, side]; 3 in the middle, 0 on the ellipse, down to -6.9 outside.
    """
    steps = (torch.arange(side, device=boxes.device, dtype=boxes.dtype) + 0.5) * (size / side) - 0.5
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).abs().clamp_min(0.5)
    x = (steps[None] - centre[:, :1]) / half[:, :1]
    y = (steps[None] - centre[:, 1:]) / half[:, 1:]
    return (3 * (1 - x[:, None, :] ** 2 - y[:, :, None] ** 2)).clamp(-6.9, 3.0)[:, None]


class MaskDecoder(nn.Module):
    """SAM's two-way mask decoder for many prompts on many images at once, with SAM 2's skips in the up-scaling."""

    masks = 4  # one for unambiguous prompts, three candidates

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        MLP, TwoWayTransformer = decoder_blocks()
        dim, (s2, s4) = config.embed_dim, config.skip_dims
        self.transformer = TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=4, mlp_dim=4 * dim)
        self.output_tokens = nn.Embedding(1 + self.masks, dim)  # predicted IoU, then masks
        self.up4 = nn.ConvTranspose2d(dim, s4 or dim // 4, 2, stride=2)
        self.norm4 = nn.GroupNorm(1, s4 or dim // 4)
        self.up2 = nn.ConvTranspose2d(s4 or dim // 4, s2 or dim // 8, 2, stride=2)
        self.refine = nn.Conv2d(s2 or dim // 8, s2 or dim // 8, 3, padding=1)
        self.prompt_skip = nn.Conv2d(1, s2 or dim // 8, 3, padding=1) if config.dense_prior else None
        if self.prompt_skip is not None:
            nn.init.zeros_(self.prompt_skip.weight)
            nn.init.zeros_(self.prompt_skip.bias)
        self.hypernetworks = nn.ModuleList(MLP(dim, dim, s2 or dim // 8, 3) for _ in range(self.masks))
        self.iou_head = MLP(dim, dim, self.masks, 3)

    def forward(
        self,
        features: dict[str, Tensor],
        position: Tensor,
        tokens: Tensor,
        dense: Tensor,
        image_of: Tensor,
        masks: Tensor | None = None,
        extra: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> tuple[Tensor, Tensor]:
        """Masks of N prompts.

        Args:
            features: from :class:`HybridEncoder`, B images.
            position: dense positional code.
            tokens: [N, T, D]; dense: [N, D, G, G]; image_of: [N] which image each prompt belongs to.
            masks: [N, 1, S/2, S/2] mask prompts, 0 where there is none; None when no prompt has one.
            extra: what references add to the output tokens [N, 5, D], and references and clicks to the stride-4 skip
                [N, s4, 2 G, 2 G]; None without any.

        Returns:
            logits [N, 4, S/2, S/2] and predicted IoU [N, 4].
        """
        count = len(tokens)
        outputs = self.output_tokens.weight[None].expand(count, -1, -1)
        pointers, border = extra
        outputs = outputs if pointers is None else outputs + pointers
        tokens = torch.cat([outputs, tokens], dim=1)
        source = features["embedding"][image_of] + dense
        hidden, source = self.transformer(source, position.expand(count, -1, -1, -1), tokens)
        rows, cols = features["embedding"].shape[-2:]
        x = self.up4(source.transpose(1, 2).reshape(count, -1, rows, cols))
        if "skip4" in features:
            x = x + features["skip4"][image_of]
        x = x if border is None else x + border
        x = self.up2(F.relu(self.norm4(x)))
        if "skip2" in features:
            x = x + features["skip2"][image_of]
        if self.prompt_skip is not None and masks is not None:
            x = x + self.prompt_skip(masks.clamp(-10, 10) / 5)
        x = F.relu(x)
        x = F.relu(x + self.refine(x))
        weights = torch.stack([net(hidden[:, 1 + i]) for i, net in enumerate(self.hypernetworks)], dim=1)
        logits = (weights @ x.flatten(2)).view(count, self.masks, *x.shape[-2:])
        return logits, self.iou_head(hidden[:, 0])


class HybridSam(nn.Module):
    """Encoder, prompt tokens and decoder in one module."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = HybridEncoder(config)
        self.prompt_encoder = PromptTokens(config)
        self.mask_decoder = MaskDecoder(config)
        self.reference_reader = (
            ReferenceReader(config.embed_dim, config.skip_dims[1], 1 + MaskDecoder.masks) if config.references else None
        )
        self.click_reader = ClickReader(config.embed_dim, config.skip_dims[1]) if config.clicks else None

    def decode(
        self,
        features: dict[str, Tensor],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor | None = None,
        has_mask: Tensor | None = None,
        image_of: Tensor | None = None,
        reference: Reference | None = None,
        reference_of: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits [N, 4, S/2, S/2] and predicted IoU [N, 4] for N prompts; see the parts for the arguments.

        ``reference`` holds R references; ``reference_of`` [N] says which one each prompt has, -1 for none (all the
        first one when it is left out).
        """
        count, device = len(coords), coords.device
        if masks is None:
            side = 4 * features["embedding"].shape[-1]
            masks = torch.zeros(1, 1, side, side, device=device)
            has_mask = torch.zeros(count, dtype=torch.bool, device=device)
        alike = image_of is None and reference_of is None  # one image, one reference: read once, added to all prompts
        if image_of is None:
            image_of = torch.zeros(count, dtype=torch.long, device=device)
        tokens, dense = self.prompt_encoder(coords, labels, masks, has_mask)
        pointers = border = None
        if reference is not None and len(reference["keys"]):
            if reference_of is None:
                reference_of = torch.zeros(count, dtype=torch.long, device=device)
            some = slice(0, 1) if alike else slice(None)
            pointers, more, border = self._read(features, image_of[some], reference, reference_of[some])
            dense = dense + more
        positive, negative = labels == POINT_POSITIVE, labels == POINT_NEGATIVE
        if self.click_reader is not None and bool((positive | negative).any()):
            own = {name: features[name][image_of] for name in ("embedding", "skip4") if name in features}
            more, fine = self.click_reader(own, coords, positive, negative)
            dense, border = dense + more, fine if border is None else border + fine
        position = self.prompt_encoder.dense_position(features["embedding"].shape[-1])
        shown = masks * has_mask[:, None, None, None] if bool(has_mask.any()) else None
        return self.mask_decoder(features, position, tokens, dense, image_of, shown, (pointers, border))

    def _read(
        self, features: dict[str, Tensor], image_of: Tensor, reference: Reference, reference_of: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the reader says for the prompts that have a reference, and zeros for the others."""
        rows = torch.nonzero(reference_of >= 0)[:, 0]
        own = {name: value[reference_of[rows]] for name, value in reference.items()}
        seen = {name: features[name][image_of[rows]] for name in ("embedding", "skip4") if name in features}
        said = self.reference_reader(seen, own)
        count = len(reference_of)
        if len(rows) == count:
            return said
        return tuple(
            None if part is None else part.new_zeros(count, *part.shape[1:]).index_copy(0, rows, part) for part in said
        )
