"""The memory path of a SAM 2 network, one slice at a time: prompted slices, tracked slices, what they leave behind.

Numbers follow ``SAM2VideoPredictor`` (Ravi et al., 2024): the network's own modules are called in its order on the
features of one slice. What the predictor does around them (a film of JPEG frames, one state for all) is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..models.device import autocast
from ..models.encoding import nan_error
from .memory_attention import AbsorbedMemoryAttention
from .memory_bank import Reading, SliceMemory

LOGIT_LIMIT = 32.0
"""Logits of an earlier answer are cut here before they prompt, as SAM 2 does."""
_SURE = 1e4


@dataclass(frozen=True, eq=False)
class Current:
    """Features of a slice on the device, float32.

    Attributes:
        top: [1, C, g, g], without the embedding "no memory" that single images get.
        fine: the two maps of higher resolution, [1, C/8, 4g, 4g] and [1, C/4, 2g, 2g].
    """

    top: torch.Tensor
    fine: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says about one slice.

    Attributes:
        low_res: float32 [1, 1, 4g, 4g] logits; -1024 everywhere when the object is absent.
        predicted_iou: 0..1.
        pointer: [1, C].
        score: logit of "the object is on this slice".
    """

    low_res: torch.Tensor
    predicted_iou: float
    pointer: torch.Tensor
    score: torch.Tensor


class MemoryNetwork:
    """Prompted and tracked slices of a SAM 2 network.

    Args:
        network: a ``SAM2Base`` in evaluation mode with its weights.
        device: where it lies.
        dtype: reduced precision of memory attention and memory encoder, or None; half precision that overflows is
            repeated in float32.
        count: slices of the stack (SAM 2 reads fewer pointers in very short films).
        name: of the model, for messages.
        fast: use our form of memory attention (:mod:`.memory_attention`) where it is faster, on a CPU in float32; False
            is the switch back to the network's own.
    """

    def __init__(
        self, network: Any, device: str, dtype: torch.dtype | None, count: int, name: str, *, fast: bool = True
    ) -> None:
        self.network, self.device, self._dtype, self._count, self._name = network, device, dtype, count, name
        self._positions: dict[tuple, torch.Tensor] = {}
        attention = network.memory_attention
        attention.__dict__.pop("forward", None)
        if fast and device == "cpu" and dtype is None and AbsorbedMemoryAttention.fits(attention):
            # on this one object: the module keeps its weights and its names
            attention.forward = AbsorbedMemoryAttention(attention)

    @torch.inference_mode()
    def prompted(
        self,
        current: Current,
        points: np.ndarray,
        labels: np.ndarray,
        mask: np.ndarray | None,
        index: int = 0,
        reading: Reading | None = None,
        backward: bool = False,
    ) -> Answer:
        """A slice with prompts.

        Args:
            current: its features.
            points: [N, 2] (x, y) in pixels of the input; the corners of a box come first.
            labels: [N], 1 inside, 0 outside, 2 and 3 the corners of a box.
            mask: low-resolution logits [4g, 4g], or None.
            index: slice.
            reading: memory to look at the slice with, for corrections; None looks at it alone.
            backward: direction of the walk that the memory is from.
        """
        network, inputs = self.network, None
        if len(points):
            inputs = {
                "point_coords": torch.as_tensor(points, dtype=torch.float32, device=self.device)[None],
                "point_labels": torch.as_tensor(labels, dtype=torch.int32, device=self.device)[None],
            }
        alone = reading is None or not reading.conditioning
        pixels = self._mixed(current, index, reading, backward, alone)
        prior = None
        if mask is not None:
            prior = torch.as_tensor(np.asarray(mask, dtype=np.float32), device=self.device)[None, None]
            prior = prior.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        return self._heads(current, pixels, inputs, prior, network._use_multimask(alone, inputs))

    @torch.inference_mode()
    def taken(self, current: Current, mask: np.ndarray) -> Answer:
        """A slice whose mask is taken as it is.

        Args:
            current: its features.
            mask: bool [H, W] of the slice.
        """
        side = self.network.image_size
        given = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32)).to(self.device)[None, None]
        if tuple(given.shape[-2:]) != (side, side):
            given = F.interpolate(given, size=(side, side), mode="bilinear", antialias=True)
            given = (given >= 0.5).float()
        outputs = self.network._use_mask_as_output(current.top, list(current.fine), given)
        return self._checked(outputs)

    @torch.inference_mode()
    def tracked(self, current: Current, index: int, reading: Reading, backward: bool) -> Answer:
        """A slice without prompts, looked at with memory."""
        pixels = self._mixed(current, index, reading, backward, alone=False)
        return self._heads(current, pixels, None, None, self.network._use_multimask(False, None))

    @torch.inference_mode()
    def memory(self, current: Current, answer: Answer, prompted: bool) -> SliceMemory:
        """What a slice leaves behind; the mask of a prompted one is cut to inside and outside first."""
        side = self.network.image_size
        logits = F.interpolate(answer.low_res, size=(side, side), mode="bilinear", align_corners=False)
        if prompted:
            logits = torch.where(logits > 0, _SURE, -_SURE)

        def run() -> tuple[torch.Tensor, ...]:
            """Encode the memory of this slice."""
            features, _ = self.network._encode_new_memory(
                current_vision_feats=[_flat(current.top)],
                feat_sizes=[tuple(current.top.shape[-2:])],
                pred_masks_high_res=logits,
                object_score_logits=answer.score,
                is_mask_from_pts=False,
            )
            return (features.float(),)

        (features,) = self._finite(run, "memory encoder")
        # bfloat16, as SAM 2 keeps it
        return SliceMemory(features.to(torch.bfloat16), answer.pointer, float(answer.score))

    def upscaled(self, answer: Answer, shape: tuple[int, int]) -> np.ndarray:
        """Logits float32 [H, W] in pixels of a slice of ``shape``."""
        logits = F.interpolate(answer.low_res, size=shape, mode="bilinear", align_corners=False)
        return logits[0, 0].cpu().numpy()

    def _mixed(
        self, current: Current, index: int, reading: Reading | None, backward: bool, alone: bool
    ) -> torch.Tensor:
        """The slice's features with memory mixed in, [1, C, g, g]."""
        top, grid = _flat(current.top), tuple(current.top.shape[-2:])
        position = self._position("slice", self.network.image_encoder.neck.position_encoding, current.top)
        outputs = {} if alone else self._outputs(reading, current.top)

        def run() -> tuple[torch.Tensor, ...]:
            """Mix the slice's features with the memories."""
            mixed = self.network._prepare_memory_conditioned_features(
                frame_idx=index,
                is_init_cond_frame=alone,
                current_vision_feats=[top],
                current_vision_pos_embeds=[_flat(position)],
                feat_sizes=[grid],
                output_dict=outputs,
                num_frames=self._count,
                track_in_reverse=backward,
            )
            return (mixed.float(),)

        return self._finite(run, "memory attention")[0]

    def _outputs(self, reading: Reading, top: torch.Tensor) -> dict[str, Any]:
        """Memories in the form in which the network's own code wants them."""

        def entries(memories: Mapping[int, SliceMemory]) -> dict[int, dict[str, Any]]:
            """As the official network keeps them."""
            return {index: self._entry(memory, top) for index, memory in memories.items()}

        return {
            "cond_frame_outputs": entries(reading.conditioning),
            "non_cond_frame_outputs": entries(reading.recent),
        }

    def _entry(self, memory: SliceMemory, top: torch.Tensor) -> dict[str, Any]:
        pointer = memory.pointer.to(self.device)  # what was remembered before a move lies elsewhere
        if memory.map is None:
            return {"obj_ptr": pointer}
        # float32, since without pointers bfloat16 maps would meet float32 weights
        features = memory.map.to(self.device, torch.float32)
        position = self._position("memory", self.network.memory_encoder.position_encoding, features)
        return {"maskmem_features": features, "maskmem_pos_enc": [position], "obj_ptr": pointer}

    def _position(self, kind: str, module: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
        """Position codes depend on the size of a map only, so they are computed once."""
        key = (kind, *features.shape[-2:])
        if key not in self._positions:
            self._positions[key] = module(features).float()
        return self._positions[key]

    def _heads(
        self,
        current: Current,
        pixels: torch.Tensor,
        points: dict[str, torch.Tensor] | None,
        mask: torch.Tensor | None,
        several: bool,
    ) -> Answer:
        outputs = self.network._forward_sam_heads(
            backbone_features=pixels,
            point_inputs=points,
            mask_inputs=mask,
            high_res_features=list(current.fine),
            multimask_output=several,
        )
        return self._checked(outputs)

    def _checked(self, outputs: tuple[torch.Tensor, ...]) -> Answer:
        _, _, ious, low_res, _, pointer, score = outputs
        low_res, pointer, score = low_res.float(), pointer.float(), score.float()
        if not all(bool(torch.isfinite(array).all()) for array in (low_res, ious, pointer, score)):
            raise nan_error(self._name, "mask decoder")
        quality = min(max(float(ious.max()), 0.0), 1.0)
        return Answer(low_res, quality, pointer, score.reshape(1, 1))

    def _finite(self, run: Any, part: str) -> tuple[torch.Tensor, ...]:
        for dtype in dict.fromkeys((self._dtype, None)):
            with autocast(self.device, dtype):
                found = run()
            if all(bool(torch.isfinite(array).all()) for array in found):
                return found
        raise nan_error(self._name, part)


def _flat(features: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [h * w, B, C]."""
    return features.flatten(2).permute(2, 0, 1)
