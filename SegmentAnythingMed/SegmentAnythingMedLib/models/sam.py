"""SAM (Kirillov et al., 2023) and its fine-tunings with the same network: MedSAM, MedicoSAM.

Numbers follow ``segment_anything.SamPredictor``: the same prompts in pixels of the same uint8 slice give the same
logits. The families differ in how an image is prepared and a mask is scaled back: ``sam_preparation``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from segment_anything.modeling import Sam

from ..errors import DeviceError, ModelError, PromptError
from ..prompts.types import Box, SlicePrompts
from .checkpoints import Checkpoint, load_strictly
from .device import autocast, autocast_dtype, to_device
from .families import PREPROCESSING, Identity
from .frame import Frame, Region
from .interface import ModelInfo, PromptableModel, SliceFeatures, SlicePrediction
from .sam_network import build_sam, sam_shape
from .sam_preparation import PREPARATIONS, to_sam_coordinates, to_uint8

EMBEDDING = "image_embedding"
_CUDA_BATCH = 4


class SamModel(PromptableModel):
    """A SAM network behind ``encode`` and ``decode``.

    Args:
        network: from :func:`~SegmentAnythingMedLib.models.sam_network.build_sam`, weights loaded.
        info: identity, for reports and caches.
        device: from :func:`~SegmentAnythingMedLib.models.device.choose_device`.
        preprocessing: key of :data:`PREPARATIONS`.
        precision: of the encoder, see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; decoding is float32.
        notes: what the user should know about this model, for the report.
    """

    def __init__(
        self,
        network: Sam,
        info: ModelInfo,
        *,
        device: str = "cpu",
        preprocessing: str = "sam",
        precision: str = "auto",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.info = info
        self.device = device
        self.notes = notes
        self.preprocessing = preprocessing
        self.image_size = int(network.image_encoder.img_size)
        self.low_res_size = int(network.prompt_encoder.mask_input_size[0])
        self._preparation = PREPARATIONS[preprocessing]
        self._dtype = autocast_dtype(device, precision)
        self._network = network.to(device).eval()
        with torch.no_grad():
            self._position_code = self._network.prompt_encoder.get_dense_pe()  # depends on nothing, so computed once

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
            images: float32 [H, W] or [H, W, 3] each, 0..1 (rounded to 8 bits, as the network was trained; NaN is 0).
            frames: one per image, from :meth:`frame`.

        Returns:
            ``image_embedding`` float32 [256, size / 16, size / 16] each, on the model's device.

        Raises:
            ModelError: ``model.nan`` when the network returns NaN in float32 too.
            DeviceError: ``device.memory`` when not even one slice fits into the device's memory.
        """
        batch = 1 if self.device == "cpu" else _CUDA_BATCH  # a batch gains nothing on a CPU and costs memory
        features: list[SliceFeatures] = []
        for start in range(0, len(images), batch):
            chosen = list(frames[start : start + batch])
            inputs = [
                self._preparation.prepare(frame.crop(to_uint8(image)), frame)
                for image, frame in zip(images[start : start + batch], chosen, strict=True)
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
    ) -> SlicePrediction:
        """Masks for prompts on an encoded slice; see the base class.

        A mask that is too small to be seen at the resolution of mask prompts becomes a box around it when nothing else
        prompts.
        """
        frame = features.frame
        points, boxes, masks = self._prompts(frame, prompts, mask_input)
        embedding = to_device(features.tensors[EMBEDDING], self.device)[None]
        sparse, dense = self._network.prompt_encoder(points=points, boxes=boxes, masks=masks)
        low_res, quality = self._network.mask_decoder(
            image_embeddings=embedding,
            image_pe=self._position_code,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
        )
        if not bool(torch.isfinite(low_res).all() & torch.isfinite(quality).all()):
            raise self._nan("mask decoder")
        patch = self._preparation.upscale(low_res[0], frame).cpu().numpy()
        return SlicePrediction(
            low_res_logits=low_res[0].cpu().numpy(),
            predicted_iou=quality[0].clamp(0.0, 1.0).cpu().numpy(),
            logits=frame.paste(patch),
        )

    @torch.no_grad()
    def _embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings float32 [B, C, h, w]; half precision that overflows is repeated in float32 once."""
        embeddings = self._run_encoder(inputs, self._dtype)
        if self._dtype is not None and not bool(torch.isfinite(embeddings).all()):
            embeddings = self._run_encoder(inputs, None)
        if not bool(torch.isfinite(embeddings).all()):
            raise self._nan("image encoder")
        return embeddings

    def _run_encoder(self, inputs: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
        try:
            with autocast(self.device, dtype):
                return self._network.image_encoder(inputs.to(self.device)).float()
        except torch.OutOfMemoryError:
            pass  # go on outside: the exception keeps what filled the memory alive
        torch.cuda.empty_cache()
        if len(inputs) == 1:
            raise DeviceError("device.memory", self._memory_text())
        return torch.cat([self._run_encoder(one, dtype) for one in inputs.split(1)])

    def _prompts(
        self, frame: Frame, prompts: SlicePrompts, mask_input: np.ndarray | None
    ) -> tuple[tuple[torch.Tensor, torch.Tensor] | None, torch.Tensor | None, torch.Tensor | None]:
        """Points, boxes and masks as the prompt encoder wants them (batch of one)."""
        box, side = prompts.box, self.low_res_size
        if mask_input is not None and np.shape(mask_input) != (side, side):
            raise PromptError(
                "prompt.mask_input",
                f"mask_input must be the low-resolution logits of a decode, shape {(side, side)}; "
                f"got {np.shape(mask_input)}. Give a mask of the slice as prompts.mask instead.",
            )
        if mask_input is None and prompts.mask is not None and prompts.mask.any():
            mask_input = frame.mask_logits(prompts.mask, side)
            if mask_input is None and box is None and not len(prompts.points):
                box = _box_around(prompts.mask)
        if mask_input is None and box is None and not len(prompts.points):
            raise PromptError("prompt.empty", "A prompt needs at least one point, a box or a mask; got none of them.")
        points = boxes = masks = None
        if len(prompts.points):
            coordinates = self._tensor(to_sam_coordinates(frame, prompts.points))[None]
            points = coordinates, torch.as_tensor(np.asarray(prompts.labels), device=self.device).int()[None]
        if box is not None:
            boxes = self._tensor(to_sam_coordinates(frame, np.asarray(box))).reshape(1, 4)
        if mask_input is not None:
            masks = self._tensor(mask_input)[None, None]
        return points, boxes, masks

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def _nan(self, part: str) -> ModelError:
        return ModelError(
            "model.nan",
            f"The {part} of {self.info.name} returned NaN or infinity in float32; its weights may be damaged. "
            "Check the checkpoint, or use another model.",
        )

    def _memory_text(self) -> str:
        free, total = (number / 2**30 for number in torch.cuda.mem_get_info(self.device))
        return (
            f"{self.info.name} needs more memory for one slice than {self.device} has free "
            f"({free:.1f} of {total:.1f} GiB); close other programs that use the GPU, or use --device cpu."
        )


def load_sam(checkpoint: Checkpoint, identity: Identity, device: str = "cpu", precision: str = "auto") -> SamModel:
    """The model that a checkpoint holds.

    Args:
        checkpoint: from :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint`.
        identity: from :func:`~SegmentAnythingMedLib.models.families.identify`.
        device: from :func:`~SegmentAnythingMedLib.models.device.choose_device`.
        precision: see :class:`SamModel`.

    Raises:
        ModelError: ``checkpoint.mismatch``.
    """
    network = build_sam(sam_shape(checkpoint.tensors, checkpoint.file_name))
    load_strictly(network, checkpoint.tensors, checkpoint.file_name)
    info = ModelInfo(
        name=identity.name,
        family=identity.family,
        variant=identity.variant,
        sha256=checkpoint.sha256,
        source=identity.source,
        licence=identity.licence,
    )
    return SamModel(
        network,
        info,
        device=device,
        preprocessing=PREPROCESSING[identity.family],
        precision=precision,
        notes=identity.notes,
    )


def _box_around(mask: np.ndarray) -> Box:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(cols[0]) - 0.5, float(rows[0]) - 0.5, float(cols[-1]) + 0.5, float(rows[-1]) + 0.5
