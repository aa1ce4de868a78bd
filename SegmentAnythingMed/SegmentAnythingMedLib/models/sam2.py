"""SAM 2 and 2.1 (Ravi et al., 2024) and MedSAM2 (Ma et al., 2025) on single slices.

Numbers follow the official ``SAM2ImagePredictor``. The features are kept as the image encoder gives them, without the
"no memory" embedding that a single slice gets: memory propagation uses the same features and the same ``network``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..prompts.types import SlicePrompts
from .device import choose_profile, to_device
from .encoding import channels_last, nan_error, run_encoder
from .fast_decoder import FastDecoder, RecentStates, SliceState
from .frame import Frame, Region
from .guidance import guided_decoder
from .interface import ModelInfo, PromptableModel, SliceFeatures, SlicePrediction, TargetGuidance
from .network_prompts import NO_PROMPTS, NetworkPrompts, network_prompts
from .preparation import PREPARATIONS, to_uint8

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

EMBEDDING, FINE, MIDDLE = "image_embedding", "high_res_0", "high_res_1"
LOGIT_BOUND = 32.0
_BOX_CORNERS = (2, 3)


class Sam2Model(PromptableModel):
    """A SAM 2 network behind ``encode`` and ``decode``.

    Args:
        network: from :func:`~SegmentAnythingMedLib.models.sam2_network.build_sam2`, weights loaded.
        info: identity, for reports and caches.
        device: from :func:`~SegmentAnythingMedLib.models.device.choose_device`.
        preprocessing: key of :data:`~SegmentAnythingMedLib.models.preparation.PREPARATIONS`.
        precision: of the encoder, see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; decoding is float32.
        notes: what the user should know about this model, for the report.
        fast: compute with our forms of mask decoder and memory attention where they are faster (equal but for
            rounding); False is the switch back to the stock modules.

    Attributes:
        network: the whole network, memory attention and memory encoder included.
        dtype: reduced precision of what is not decoding, or None for float32.
    """

    has_memory = True
    has_tokens = True
    supports_guidance = True
    answers_unprompted = True
    negatives_cap = 3  # users report that more make its masks worse (facebookresearch/sam2, issues 660 and 695)

    def __init__(
        self,
        network: SAM2Base,
        info: ModelInfo,
        *,
        device: str = "cpu",
        preprocessing: str = "sam2",
        precision: str = "auto",
        notes: tuple[str, ...] = (),
        fast: bool = True,
    ) -> None:
        self.info = info
        self.device = device
        self.notes = notes
        self.preprocessing = preprocessing
        self.image_size = int(network.image_size)
        self.low_res_size = int(network.sam_prompt_encoder.mask_input_size[0])
        self.network = network.to(device).eval()
        self._preparation = PREPARATIONS[preprocessing]
        profile = choose_profile(device, precision)
        self.dtype, self._batch, self.look_ahead = profile.dtype, profile.batch, profile.look_ahead
        with torch.no_grad():
            self._position_code = network.sam_prompt_encoder.get_dense_pe()
            self._no_memory = network.no_mem_embed.reshape(1, -1, 1, 1)
        self.fast = fast
        self._states = RecentStates()
        self._decoder = None
        if fast and device == "cpu" and FastDecoder.fits(network.sam_mask_decoder):
            no_mask = network.sam_prompt_encoder.no_mask_embed.weight
            self._decoder = FastDecoder(network.sam_mask_decoder, self._position_code, no_mask)

    def frame(
        self, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float], region: Region | None = None
    ) -> Frame:
        """Geometry in which a slice is shown; see the base class."""
        if self._preparation.squash:
            return Frame.squash(slice_shape, self.image_size, region)
        return Frame.longest_side(slice_shape, pixel_spacing, self.image_size, region)

    def encode(self, images: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[SliceFeatures]:
        """Feature maps of slices.

        Args:
            images: float32 [h, w] or [h, w, 3] each, the pixels of ``frame.region``, 0..1 (rounded to 8 bits, as the
                network was trained; NaN is 0).
            frames: one per image, from :meth:`frame`.

        Returns:
            float32 maps on the model's device, S the side of the input: ``image_embedding`` [256, S/16, S/16] (nothing
            added), ``high_res_1`` [64, S/8, S/8] and ``high_res_0`` [32, S/4, S/4] as the mask decoder takes them.

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
            maps = run_encoder(
                self._run,
                torch.stack(inputs),
                device=self.device,
                dtype=self.dtype,
                name=self.info.name,
                too_many=self._one_by_one,
            )
            features += [
                SliceFeatures(dict(zip((FINE, MIDDLE, EMBEDDING), one, strict=True)), frame)
                for *one, frame in zip(*maps, chosen, strict=True)
            ]
        return features

    def _run(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network.forward_image(inputs)["backbone_fpn"])

    def _one_by_one(self) -> None:
        self._batch, self.look_ahead = 1, 0

    @torch.no_grad()
    def decode(
        self,
        features: SliceFeatures,
        prompts: SlicePrompts,
        *,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = False,
        guidance: TargetGuidance | None = None,
    ) -> SlicePrediction:
        """Masks for prompts on an encoded slice; see the base class.

        ``low_res_logits`` are bounded to +-32, as in the official predictor; ``logits`` are not. The logit of presence
        is left to memory propagation, as in the official predictor of images.
        """
        asked = network_prompts(prompts, features.frame, self._preparation, self.low_res_size, mask_input)
        return self._answer(features, asked, multimask_output, guidance)

    @torch.no_grad()
    def decode_unprompted(self, features: SliceFeatures) -> SlicePrediction:
        """See the base class."""
        return self._answer(features, NO_PROMPTS, False, None)

    def _answer(
        self, features: SliceFeatures, asked: NetworkPrompts, multimask_output: bool, guidance: TargetGuidance | None
    ) -> SlicePrediction:
        frame = features.frame
        low_res, quality = self._masks(features, asked, multimask_output, guidance)
        if not bool(torch.isfinite(low_res).all() & torch.isfinite(quality).all()):
            raise nan_error(self.info.name, "mask decoder")
        patch = self._preparation.upscale(low_res[0], frame).cpu().numpy()
        return SlicePrediction(
            low_res_logits=low_res[0].clamp(-LOGIT_BOUND, LOGIT_BOUND).cpu().numpy(),
            predicted_iou=quality[0].clamp(0.0, 1.0).cpu().numpy(),
            logits=frame.paste(patch),
        )

    def _masks(
        self, features: SliceFeatures, asked: NetworkPrompts, multimask_output: bool, guidance: TargetGuidance | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [1, M, h, w] and predicted IoU [1, M]."""
        sparse, dense = self._encode_prompts(asked)
        if self._decoder is not None and guidance is None:
            state = self._states.of(features, self._state)
            return self._decoder.predict(state, sparse, None if asked.mask is None else dense, multimask_output)
        maps = self._maps(features)
        low_res, quality, _, _ = guided_decoder(self.network.sam_mask_decoder, guidance)(
            image_embeddings=maps[EMBEDDING][None],
            image_pe=self._position_code,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
            repeat_image=False,
            high_res_features=[maps[FINE][None], maps[MIDDLE][None]],
        )
        return low_res, quality

    def _maps(self, features: SliceFeatures) -> dict[str, torch.Tensor]:
        """Maps on the device, the coarsest as a slice without memory has it."""
        maps = {name: to_device(value, self.device) for name, value in features.tensors.items()}
        return {**maps, EMBEDDING: maps[EMBEDDING] + self._no_memory[0]}

    def _state(self, features: SliceFeatures) -> SliceState:
        maps = self._maps(features)
        return self._decoder.state(maps[EMBEDDING], maps[FINE], maps[MIDDLE])

    def tokens(self, features: SliceFeatures) -> np.ndarray:
        """The stride-16 map without the "no memory" embedding, whose constant would make all tokens look alike."""
        return channels_last(features.tensors[EMBEDDING])

    def _encode_prompts(self, asked: NetworkPrompts) -> tuple[torch.Tensor, torch.Tensor]:
        """Sparse and dense prompt embeddings (batch of one); a box is two points of their own kinds, given first."""
        coordinates, labels = asked.points, asked.labels
        if asked.box is not None:
            coordinates = np.concatenate([asked.box.reshape(2, 2), coordinates])
            labels = np.concatenate([_BOX_CORNERS, labels])
        points = None
        if len(coordinates):
            points = self._tensor(coordinates)[None], torch.as_tensor(labels, device=self.device).int()[None]
        masks = None if asked.mask is None else self._tensor(asked.mask)[None, None]
        return self.network.sam_prompt_encoder(points=points, boxes=None, masks=masks)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)
