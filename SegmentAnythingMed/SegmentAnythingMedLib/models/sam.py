"""SAM (Kirillov et al., 2023) and what shares its prompt encoder and mask decoder.

MedSAM, MedicoSAM and low-rank fine-tunings have the same network; SAM-Med2D, MobileSAM and LiteMedSAM another image
encoder. Numbers follow the published inference of each: the same prompts in pixels of the same uint8 slice give the
same logits. How an image is prepared and a mask is scaled back: ``preparation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from segment_anything.modeling import Sam

from ..prompts.types import SlicePrompts
from .device import choose_profile, to_device
from .encoding import channels_last, nan_error, run_encoder
from .fast_attention import accelerate_encoder, restore_encoder
from .fast_decoder import Cells, FastDecoder, RecentStates, SliceState
from .frame import Frame, Region
from .guidance import guided_decoder
from .interface import ModelInfo, PromptableModel, SliceFeatures, SlicePrediction, TargetGuidance
from .network_prompts import NO_PROMPTS, NetworkPrompts, network_prompts
from .preparation import PREPARATIONS, to_uint8

EMBEDDING = "image_embedding"
_MARGIN, _LEAST_MARGIN = 0.5, 4
"""Around a prompt, on each side: a part of its longer side, and cells of the embedding at least."""


class SamModel(PromptableModel):
    """A SAM network behind ``encode`` and ``decode``.

    Args:
        network: image encoder, prompt encoder and mask decoder with weights loaded.
        info: identity, for reports and caches.
        device: from :func:`~SegmentAnythingMedLib.models.device.choose_device`.
        preprocessing: key of :data:`~SegmentAnythingMedLib.models.preparation.PREPARATIONS`.
        precision: of the encoder, see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; decoding is float32.
        notes: what the user should know about this model, for the report.
        semantic_decoder: parameters of a decoder of whole label maps that came with the weights (MedicoSAM), or empty.
        fast: compute with our forms of encoder and decoder where they are faster (:mod:`.fast_attention`,
            :mod:`.fast_decoder`; equal but for rounding); False is the switch back to the stock modules.
    """

    has_tokens = True
    decodes_near = True
    supports_guidance = True
    answers_unprompted = True

    def __init__(
        self,
        network: Sam,
        info: ModelInfo,
        *,
        device: str = "cpu",
        preprocessing: str = "sam",
        precision: str = "auto",
        notes: tuple[str, ...] = (),
        semantic_decoder: Mapping[str, torch.Tensor] | None = None,
        fast: bool = True,
    ) -> None:
        self.info = info
        self.device = device
        self.notes = notes
        self.preprocessing = preprocessing
        self.semantic_decoder = dict(semantic_decoder or {})
        self.image_size = int(network.image_encoder.img_size)
        self.low_res_size = int(network.prompt_encoder.mask_input_size[0])
        self._preparation = PREPARATIONS[preprocessing]
        profile = choose_profile(device, precision)
        self._dtype, self._batch, self.look_ahead = profile.dtype, profile.batch, profile.look_ahead
        self._network = network.to(device).eval()
        with torch.no_grad():
            self._position_code = self._network.prompt_encoder.get_dense_pe()  # depends on nothing, so computed once
        self.fast = fast
        restore_encoder(self._network.image_encoder)
        if fast:
            accelerate_encoder(self._network.image_encoder)
        self._states = RecentStates()
        self._decoder = None
        if fast and device == "cpu" and FastDecoder.fits(self._network.mask_decoder):
            no_mask = self._network.prompt_encoder.no_mask_embed.weight
            self._decoder = FastDecoder(self._network.mask_decoder, self._position_code, no_mask)

    def frame(
        self, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float], region: Region | None = None
    ) -> Frame:
        """Geometry in which a slice is shown; see the base class."""
        if self._preparation.squash:
            return Frame.squash(slice_shape, self.image_size, region)
        return Frame.longest_side(slice_shape, pixel_spacing, self.image_size, region)

    def encode(self, images: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[SliceFeatures]:
        """Image embeddings of slices.

        Args:
            images: float32 [h, w] or [h, w, 3] each, the pixels of ``frame.region``, 0..1 (rounded to 8 bits, as the
                network was trained; NaN is 0).
            frames: one per image, from :meth:`frame`.

        Returns:
            ``image_embedding`` float32 [256, h', w'] each, a quarter of ``low_res_size``, on the model's device.

        Raises:
            ModelError: ``model.nan`` when the network returns NaN in float32 too.
            DeviceError: ``device.memory`` when not even one slice fits into the device's memory.
        """
        features: list[SliceFeatures] = []
        while len(features) < len(images):
            some = slice(len(features), len(features) + self._batch)  # fewer when memory ran short on the way
            chosen = list(frames[some])
            inputs = [
                self._preparation.prepare(to_uint8(image), frame)
                for image, frame in zip(images[some], chosen, strict=True)
            ]
            embeddings = self._embed(torch.stack(inputs))
            features += [SliceFeatures({EMBEDDING: e}, frame) for e, frame in zip(embeddings, chosen, strict=True)]
        return features

    @torch.no_grad()
    def decode(
        self,
        features: SliceFeatures,
        prompts: SlicePrompts,
        *,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = False,
        guidance: TargetGuidance | None = None,
        near: bool = False,
    ) -> SlicePrediction:
        """Masks for prompts on an encoded slice; see the base class.

        A mask that is too small to be seen at the resolution of mask prompts becomes a box around it when nothing else
        prompts.

        Args:
            near: the mask wanted is the one around the prompted box or mask, as when an object is followed from slice
                to slice. Then our form of the decoder (``fast``) looks for it in twice the prompt's extent, and in the
                whole slice if it reaches the border of that; parts that lie apart from it are background.
        """
        asked = network_prompts(prompts, features.frame, self._preparation, self.low_res_size, mask_input)
        return self._answer(features, asked, multimask_output, guidance, near)

    @torch.no_grad()
    def decode_unprompted(self, features: SliceFeatures) -> SlicePrediction:
        """See the base class."""
        return self._answer(features, NO_PROMPTS, False, None, False)

    def _answer(
        self,
        features: SliceFeatures,
        asked: NetworkPrompts,
        multimask_output: bool,
        guidance: TargetGuidance | None,
        near: bool,
    ) -> SlicePrediction:
        frame = features.frame
        low_res, quality = self._masks(features, asked, multimask_output, guidance, near)
        if not bool(torch.isfinite(low_res).all() & torch.isfinite(quality).all()):
            raise nan_error(self.info.name, "mask decoder")
        patch = self._preparation.upscale(low_res[0], frame).cpu().numpy()
        return SlicePrediction(
            low_res_logits=low_res[0].cpu().numpy(),
            predicted_iou=quality[0].clamp(0.0, 1.0).cpu().numpy(),
            logits=frame.paste(patch),
        )

    def tokens(self, features: SliceFeatures) -> np.ndarray:
        """The image embedding, one vector for 16 x 16 pixels of the input; see the base class."""
        return channels_last(features.tensors[EMBEDDING])

    def _masks(
        self,
        features: SliceFeatures,
        asked: NetworkPrompts,
        multimask_output: bool,
        guidance: TargetGuidance | None,
        near: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [1, M, h, w] and predicted IoU [1, M]."""
        sparse, dense = self._encode_prompts(asked)
        if self._decoder is not None and guidance is None:
            state = self._states.of(features, self._state)
            cells = cells_around(asked, self.image_size, state.grid) if near else None
            dense = None if asked.mask is None else dense
            return self._decoder.predict(state, sparse, dense, multimask_output, cells)
        return guided_decoder(self._network.mask_decoder, guidance)(
            image_embeddings=to_device(features.tensors[EMBEDDING], self.device)[None],
            image_pe=self._position_code,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
        )

    def _state(self, features: SliceFeatures) -> SliceState:
        return self._decoder.state(to_device(features.tensors[EMBEDDING], self.device))

    def _embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings float32 [B, C, h, w]."""
        return run_encoder(
            lambda batch: (self._network.image_encoder(batch),),
            inputs,
            device=self.device,
            dtype=self._dtype,
            name=self.info.name,
            too_many=self._one_by_one,
        )[0]

    def _one_by_one(self) -> None:
        self._batch, self.look_ahead = 1, 0

    def _encode_prompts(self, asked: NetworkPrompts) -> tuple[torch.Tensor, torch.Tensor]:
        """Sparse and dense prompt embeddings (batch of one)."""
        points = None
        if len(asked.points):
            points = self._tensor(asked.points)[None], torch.as_tensor(asked.labels, device=self.device).int()[None]
        return self._network.prompt_encoder(
            points=points,
            boxes=None if asked.box is None else self._tensor(asked.box).reshape(1, 4),
            masks=None if asked.mask is None else self._tensor(asked.mask)[None, None],
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


def cells_around(asked: NetworkPrompts, image_size: int, grid: tuple[int, int]) -> Cells | None:
    """Cells of an embedding's grid with a prompt's box, mask and points in them and room around.

    None without a box or a mask: a point does not tell how large its object is.

    Args:
        asked: in pixels of the input.
        image_size: side of the input in pixels.
        grid: (rows, columns) of the embedding.
    """
    corners = []
    if asked.box is not None:
        corners.append(np.asarray(asked.box).reshape(2, 2))
    if asked.mask is not None:
        rows, cols = np.nonzero(asked.mask > 0)
        if len(rows):
            scale = image_size / asked.mask.shape[0]
            corners.append(np.array([[cols.min(), rows.min()], [cols.max() + 1, rows.max() + 1]]) * scale)
    if not corners:
        return None
    cell = image_size / grid[0]
    found = np.concatenate([*corners, np.asarray(asked.points).reshape(-1, 2)]) / cell
    low, high = found.min(axis=0), found.max(axis=0)
    margin = max(_MARGIN * float((high - low).max()), _LEAST_MARGIN)
    col0, row0 = np.clip(np.floor(low - margin).astype(int), 0, None)
    col1, row1 = np.clip(np.ceil(high + margin).astype(int), None, grid[::-1])
    return Cells(int(row0), int(col0), int(row1), int(col1)) if row0 < row1 and col0 < col1 else None
