"""What every promptable model offers: encode slices once, decode prompts often.

The two calls are the waist of the library. Prompts come from a person, a propagation, a prior visit or a learned
predictor; masks go to a slice. A model hides its input geometry and normalisation behind them, so that callers only
see slices in their own pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError
from ..prompts.types import SlicePrompts
from .frame import Frame, Region, shown_cells


@dataclass(frozen=True)
class ModelInfo:
    """Who a model is, for reports and caches.

    Attributes:
        name: registry name, e.g. ``built-in`` or ``sam-vit-b``.
        family: preprocessing family, e.g. ``embedded``, ``sam``.
        variant: size within the family.
        sha256: hash of the checkpoint file, 64 hex digits; part of every cache key and report.
        source: where the weights came from: a file name (no folder: it may name a person), a URL or ``shipped``.
        licence: SPDX identifier of the weights, or ``unknown``.
        preprocessing: how images are prepared (``preparation.PREPARATIONS``); empty when the family alone says it.
    """

    name: str
    family: str
    variant: str
    sha256: str
    source: str
    licence: str
    preprocessing: str = ""


@dataclass(frozen=True, eq=False)
class SliceFeatures:
    """Features of one slice (or of one region of it) with the frame in which they were made.

    Attributes:
        tensors: name -> array; float16 when stored, on the model's device when in use.
        frame: geometry between slice pixels and network pixels.
    """

    tensors: dict[str, Any]
    frame: Frame

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(int(t.nbytes) for t in self.tensors.values())


@dataclass(frozen=True, eq=False)
class SlicePrediction:
    """What a decode returns.

    Attributes:
        low_res_logits: float32 [M, h, w], logits in network geometry, usable as ``mask_input`` of the same features.
        predicted_iou: float32 [M], the model's own estimate, 0..1.
        logits: float32 [M, H, W] in pixels of the slice; outside ``frame.region`` a large negative number. A mask is
            ``logits > 0``.
    """

    low_res_logits: np.ndarray
    predicted_iou: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True, eq=False)
class TargetGuidance:
    """What a decoder may be told about the object beside the prompts: PerSAM's two additions (Zhang et al., 2023).

    Attributes:
        attention: float32 [h, w] on the token grid, 0..1, high where the object is likely; added to the attention
            weights of tokens to the image, which are then normalised once more. None: attention as it is.
        embedding: float32 [C], what the object's tokens look like (their raw mean), added to all prompt tokens. None:
            tokens as they are.
    """

    attention: np.ndarray | None = None
    embedding: np.ndarray | None = None


class PromptableModel(ABC):
    """A promptable 2-D segmentation model of the SAM kind behind two calls.

    Attributes:
        info: identity of the model.
        image_size: side of the network's square input in pixels.
        low_res_size: side of the low-resolution logits (and of mask prompts) in pixels.
        device: ``cpu`` or ``cuda``…
        uses_regions: True if the model wants to see a square around the object, not the whole slice.
        uses_references: True if the model can be shown what the object looks like on another slice (:meth:`reference`).
        has_memory: True if the model can track an object from slice to slice (SAM 2).
        has_tokens: True if :meth:`tokens` gives an image's features as a grid of vectors that can be compared.
        decodes_near: True if :meth:`decode` takes ``near``.
        supports_guidance: True if :meth:`decode` takes ``guidance``.
        decodes_together: True if :meth:`decode_many` is faster than so many single decodes.
        negatives_cap: how many negative points the model can make use of; None is any number.
        answers_unprompted: True if :meth:`decode_unprompted` answers.
        look_ahead: slices ahead of a walk that are worth encoding together with the one that it asks for; falls to 0
            when memory is too short for it.
    """

    info: ModelInfo
    image_size: int
    low_res_size: int
    device: str
    uses_regions: bool = False
    uses_references: bool = False
    has_memory: bool = False
    has_tokens: bool = False
    decodes_near: bool = False
    supports_guidance: bool = False
    decodes_together: bool = False
    negatives_cap: int | None = None
    answers_unprompted: bool = False
    look_ahead: int = 0

    @abstractmethod
    def frame(
        self, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float], region: Region | None = None
    ) -> Frame:
        """Geometry in which a slice (or ``region`` of it) will be shown to the network.

        Args:
            slice_shape: (rows, columns) of the slice.
            pixel_spacing: (row, column) distance of pixel centres in mm; only the ratio matters.
            region: part of the slice to show; ``None`` is the whole slice.
        """

    @abstractmethod
    def encode(self, images: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[SliceFeatures]:
        """Image features of slices.

        Args:
            images: float32 [h, w] or [h, w, 3] each: the pixels of ``frame.region`` (``frame.crop(slice)``), already
                mapped to 0..1. The session crops before it maps, so that a small region of a large slice stays cheap.
            frames: one per image, from :meth:`frame`.
        """

    @abstractmethod
    def decode(
        self,
        features: SliceFeatures,
        prompts: SlicePrompts,
        *,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = False,
        guidance: TargetGuidance | None = None,
    ) -> SlicePrediction:
        """Masks for prompts on an encoded slice.

        Args:
            features: from :meth:`encode`, of this model.
            prompts: points and box in pixels of the slice. ``prompts.mask`` is turned into a mask prompt when
                ``mask_input`` is not given.
            mask_input: float32 [h, w] low-resolution logits in the geometry of ``features`` (a last result), or None.
            multimask_output: return three candidates instead of one.
            guidance: for models with ``supports_guidance``; others need not have the argument.

        Raises:
            PromptError: ``prompt.empty`` when there is neither point, box nor mask.
            ModelError: ``model.nan`` when the network returns NaN.
        """

    def decode_many(
        self,
        features: SliceFeatures,
        prompts: Sequence[SlicePrompts],
        *,
        mask_inputs: Sequence[np.ndarray | None] | None = None,
        multimask_output: bool = False,
    ) -> list[SlicePrediction]:
        """Masks for several objects, or several wordings of one, on the same slice; see :meth:`decode`.

        Args:
            prompts: of each.
            mask_inputs: one for each of them, or None for none at all.
        """
        mask_inputs = mask_inputs or [None] * len(prompts)
        return [
            self.decode(features, one, mask_input=mask_input, multimask_output=multimask_output)
            for one, mask_input in zip(prompts, mask_inputs, strict=True)
        ]

    def decode_unprompted(self, features: SliceFeatures) -> SlicePrediction:
        """One mask for no prompt at all; worth something only for weights that were tuned to one kind of object.

        Raises:
            ModelError: ``model.needs_prompt`` for a model without ``answers_unprompted``; ``model.nan``.
        """
        raise ModelError(
            "model.needs_prompt",
            f"The model {self.info.name} always needs a prompt; choose weights of SAM or SAM 2 tuned to the object.",
        )

    def reference(self, features: SliceFeatures, mask: np.ndarray) -> Any:
        """What an object looks like on a slice where it is known, for ``SlicePrompts.references`` on other slices.

        Args:
            features: from :meth:`encode`, of this model, of the slice or a region of it that shows the object.
            mask: bool [H, W] of the slice, the object.

        Returns:
            Something only this model understands; None when nothing of the mask is left at the network's size.

        Raises:
            ModelError: ``model.no_references`` for a model without ``uses_references``.
        """
        raise ModelError("model.no_references", f"The model {self.info.name} does not use references.")

    def tokens(self, features: SliceFeatures) -> np.ndarray:
        """Features of a slice as vectors on a grid that covers the network's input, for comparison between slices.

        Args:
            features: from :meth:`encode`, of this model.

        Returns:
            float32 [h, w, C], as the encoder gives them (not normalised).

        Raises:
            ModelError: ``model.no_tokens`` for a model without ``has_tokens``.
        """
        raise ModelError("model.no_tokens", f"The model {self.info.name} offers no features that could be compared.")

    def tokens_valid(self, features: SliceFeatures) -> np.ndarray:
        """Which cells of the token grid show the slice, bool [h, w]: False in padding and beyond the slice's edge.

        A cell counts when its centre lies on a pixel of the slice.

        Raises:
            ModelError: ``model.no_tokens``.
        """
        return shown_cells(features.frame, self.tokens(features).shape[:2])
