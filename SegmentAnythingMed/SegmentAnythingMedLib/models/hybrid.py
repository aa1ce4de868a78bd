"""The network of the built-in model: a light image encoder in front of SAM's prompt encoder and mask decoder.

The encoder is a small convolutional pyramid with transformer blocks at stride 16; laterals from strides 4, 8 and 16 are
fused at stride 8. The prompt encoder and the two-way transformer decoder are those of SAM (Kirillov et al. 2023,
section 3 and appendix A) at 128 channels; as in SAM 2 (Ravi et al. 2024, appendix D) the decoder's up-scaling also sees
features of strides 4 and 2, since thin walls do not survive stride 8. All prompts of a batch are decoded in one call.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINT_NEGATIVE, POINT_POSITIVE, BOX_FIRST, BOX_SECOND, PADDING = 0, 1, 2, 3, -1
"""Labels of prompt tokens, as in SAM: a box is two tokens; point prompts without a box carry one padding token."""


@dataclass(frozen=True)
class HybridConfig:
    """Sizes of the network; stored in the checkpoint's metadata.

    Attributes:
        image_size: side of the square input in pixels, a multiple of 16.
        widths: channels at strides 2, 4, 8 and 16.
        depths: residual convolution blocks at strides 4 and 8.
        transformer_blocks: attention blocks at stride 16.
        embed_dim: channels of the image embedding, the prompt tokens and the decoder.
        skip_dims: channels of the stride-2 and stride-4 features that the decoder's up-scaling sees; (0, 0): as SAM 1.
        dense_prior: a box without a mask also becomes a mask prompt, the soft ellipse in it (``ellipse_prior``), and
            mask prompts reach the last up-scaling step at full resolution. The network starts from the best guess that
            a box allows and learns what the image adds.
    """

    image_size: int = 128
    widths: tuple[int, int, int, int] = (24, 48, 96, 160)
    depths: tuple[int, int] = (2, 2)
    transformer_blocks: int = 4
    embed_dim: int = 128
    skip_dims: tuple[int, int] = (16, 32)
    dense_prior: bool = True

    def as_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


def _resized(position: Tensor, shape: tuple[int, int]) -> Tensor:
    """The learned position code on another grid: the network may be trained and run at other sizes than its own."""
    if tuple(position.shape[-2:]) == tuple(shape):
        return position
    return F.interpolate(position, size=tuple(shape), mode="bilinear")


class HybridEncoder(nn.Module):
    """Image encoder: grey in 0..1 -> embedding at stride 8 and skips at strides 2 and 4."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        w2, w4, w8, w16 = config.widths
        self.stem = nn.Sequential(_conv(3, w2, 2), _conv(w2, w2))
        self.stage4 = nn.Sequential(_conv(w2, w4, 2), *[_Residual(w4) for _ in range(config.depths[0])])
        self.stage8 = nn.Sequential(_conv(w4, w8, 2), *[_Residual(w8) for _ in range(config.depths[1])])
        self.down16 = _conv(w8, w16, 2)
        grid = config.image_size // 16
        self.position = nn.Parameter(torch.zeros(1, w16, grid, grid))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(_Attention(w16, max(1, w16 // 32)) for _ in range(config.transformer_blocks))
        self.norm16 = nn.LayerNorm(w16)
        self.lateral4 = nn.Conv2d(w4, config.embed_dim, 2, stride=2)
        self.lateral8 = nn.Conv2d(w8, config.embed_dim, 1)
        self.lateral16 = nn.Conv2d(w16, config.embed_dim, 1)
        self.fuse = nn.Sequential(
            _conv(config.embed_dim, config.embed_dim), nn.Conv2d(config.embed_dim, config.embed_dim, 1)
        )
        s2, s4 = config.skip_dims
        self.skip2 = nn.Conv2d(w2, s2, 1) if s2 else None
        self.skip4 = nn.Conv2d(w4, s4, 1) if s4 else None

    @staticmethod
    def standardise(image: Tensor) -> Tensor:
        """Three input channels from grey [B, 1, S, S] in 0..1.

        The value itself; the value standardised over the frame, softly clipped; the difference to a local mean. They
        make the network indifferent to the window that happens to be set.
        """
        mean = image.mean(dim=(2, 3), keepdim=True)
        deviation = image.std(dim=(2, 3), keepdim=True).clamp_min(1e-3)
        local = F.avg_pool2d(image, 9, stride=1, padding=4, count_include_pad=False)
        return torch.cat(
            [(image - 0.5) / 0.25, torch.tanh((image - mean) / (2 * deviation)) * 2, (image - local) / deviation], dim=1
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """[B, 1, S, S] in 0..1 -> ``embedding`` [B, D, S/8, S/8], ``skip2`` at S/2, ``skip4`` at S/4."""
        x2 = self.stem(self.standardise(image).contiguous(memory_format=torch.channels_last))
        x4 = self.stage4(x2)
        x8 = self.stage8(x4)
        x16 = self.down16(x8)
        x16 = x16 + _resized(self.position, x16.shape[-2:])
        batch, width, rows, cols = x16.shape
        tokens = x16.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        x16 = self.norm16(tokens).transpose(1, 2).reshape(batch, width, rows, cols)
        fused = self.lateral8(x8) + self.lateral4(x4)
        fused = fused + F.interpolate(self.lateral16(x16), size=fused.shape[-2:], mode="bilinear")
        features = {"embedding": self.fuse(fused)}
        if self.skip2 is not None:
            features["skip2"] = self.skip2(x2)
            features["skip4"] = self.skip4(x4)
        return features


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
        from segment_anything.modeling.mask_decoder import MLP
        from segment_anything.modeling.transformer import TwoWayTransformer

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
    ) -> tuple[Tensor, Tensor]:
        """Masks of N prompts.

        Args:
            features: from :class:`HybridEncoder`, B images.
            position: dense positional code.
            tokens: [N, T, D]; dense: [N, D, G, G]; image_of: [N] which image each prompt belongs to.
            masks: [N, 1, S/2, S/2] mask prompts, 0 where there is none; None when no prompt has one.

        Returns:
            logits [N, 4, S/2, S/2] and predicted IoU [N, 4].
        """
        count = len(tokens)
        tokens = torch.cat([self.output_tokens.weight[None].expand(count, -1, -1), tokens], dim=1)
        source = features["embedding"][image_of] + dense
        hidden, source = self.transformer(source, position.expand(count, -1, -1, -1), tokens)
        rows, cols = features["embedding"].shape[-2:]
        x = self.up4(source.transpose(1, 2).reshape(count, -1, rows, cols))
        if "skip4" in features:
            x = x + features["skip4"][image_of]
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

    def decode(
        self,
        features: dict[str, Tensor],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor | None = None,
        has_mask: Tensor | None = None,
        image_of: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits [N, 4, S/2, S/2] and predicted IoU [N, 4] for N prompts; see the parts for the arguments."""
        count, device = len(coords), coords.device
        if masks is None:
            side = 4 * features["embedding"].shape[-1]
            masks = torch.zeros(1, 1, side, side, device=device)
            has_mask = torch.zeros(count, dtype=torch.bool, device=device)
        if image_of is None:
            image_of = torch.zeros(count, dtype=torch.long, device=device)
        tokens, dense = self.prompt_encoder(coords, labels, masks, has_mask)
        position = self.prompt_encoder.dense_position(features["embedding"].shape[-1])
        shown = masks * has_mask[:, None, None, None] if bool(has_mask.any()) else None
        return self.mask_decoder(features, position, tokens, dense, image_of, shown)
