"""The built-in model: small, ships with the library, works on a CPU with no download.

It looks at a square *region* around the object (about twice its size) instead of the whole slice: at 128 pixels that is
where a small network can see a border. How it was trained is told in ``weights/MODEL_CARD.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import ModelError, PromptError
from ..prompts.types import SlicePrompts
from .encoding import channels_last
from .frame import Frame, Region
from .guidance import guided_network
from .hybrid import BOX_FIRST, BOX_SECOND, PADDING, HybridConfig, HybridSam, ellipse_prior
from .interface import ModelInfo, PromptableModel, SliceFeatures, SlicePrediction, TargetGuidance
from .reference import Reference, joined

WEIGHTS = Path(__file__).parent / "weights" / "built-in.safetensors"
ROUND_FROM, ROUND_FULLY, LEAN = 0.65, 0.80, 2.0
"""IoU with the box's ellipse from which an answer leans on it, from which it does so fully, and how strongly."""
LUMA = (0.299, 0.587, 0.114)


class EmbeddedModel(PromptableModel):
    """The built-in network behind the common interface; see the module's text.

    Args:
        network: in evaluation mode.
        info: identity of the weights.
        device: ``cpu`` or ``cuda``…
    """

    uses_regions = True
    has_tokens = True
    supports_guidance = True
    decodes_together = True

    def __init__(self, network: HybridSam, info: ModelInfo, device: str = "cpu") -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval()
        self.info = info
        self.device = device
        self.image_size = network.config.image_size
        self.low_res_size = self.image_size // 2
        self.uses_references = network.config.references

    def frame(
        self, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float], region: Region | None = None
    ) -> Frame:
        """A square in mm: ``region``, or the smallest centred one that holds the slice (edges are repeated)."""
        return Frame.squash(slice_shape, self.image_size, region or enclosing_square(slice_shape, pixel_spacing))

    def encode(self, images: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[SliceFeatures]:
        """See :meth:`PromptableModel.encode`; colour becomes luminance."""
        batch = []
        for image, frame in zip(images, frames, strict=True):
            batch.append(frame.sample(image @ np.array(LUMA, dtype=np.float32) if image.ndim == 3 else image))
        with torch.inference_mode():
            features = self.network.image_encoder(torch.stack(batch).to(self.device))
        return [
            SliceFeatures({name: value[n : n + 1] for name, value in features.items()}, frame)
            for n, frame in enumerate(frames)
        ]

    def decode(
        self,
        features: SliceFeatures,
        prompts: SlicePrompts,
        *,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = False,
        guidance: TargetGuidance | None = None,
    ) -> SlicePrediction:
        """See :meth:`PromptableModel.decode`.

        A box with the mask of a neighbouring slice is answered twice, once from the mask and once from the box's
        ellipse, and the logits are averaged: the mask knows the shape, the box does not repeat its mistakes.

        Raises:
            PromptError: ``prompt.empty``; ``prompt.references`` for weights that do not use them.
            ModelError: ``model.nan``.
        """
        row = self._row(prompts, features.frame, mask_input)
        return self._answers(features, [row], multimask_output, guidance)[0]

    def decode_many(
        self,
        features: SliceFeatures,
        prompts: Sequence[SlicePrompts],
        *,
        mask_inputs: Sequence[np.ndarray | None] | None = None,
        multimask_output: bool = False,
    ) -> list[SlicePrediction]:
        """See :meth:`PromptableModel.decode_many`; prompts of the same form go through the network together."""
        mask_inputs = mask_inputs or [None] * len(prompts)
        rows = [self._row(one, features.frame, mask) for one, mask in zip(prompts, mask_inputs, strict=True)]
        alike: dict[tuple, list[int]] = {}
        for n, row in enumerate(rows):
            alike.setdefault(row.form, []).append(n)
        answers: dict[int, SlicePrediction] = {}
        for members in alike.values():
            together = self._answers(features, [rows[n] for n in members], multimask_output, None)
            answers.update(zip(members, together, strict=True))
        return [answers[n] for n in range(len(rows))]

    def _answers(
        self, features: SliceFeatures, rows: list[_Row], multimask: bool, guidance: TargetGuidance | None
    ) -> list[SlicePrediction]:
        """Answers to prompts of the same form, shorter ones filled up; raises ``model.nan``."""
        frame, counts = features.frame, [max(len(row.hints), 1) for row in rows]
        masks = has_mask = None
        if rows[0].hints:
            masks = torch.stack([hint for row in rows for hint, _ in row.hints]).to(self.device)
            has_mask = torch.ones(len(masks), dtype=torch.bool, device=self.device)
        longest = max(row.coords.shape[1] for row in rows)
        coords, labels, hidden = (
            torch.cat([one.expand(count, *one.shape[1:]) for one, count in zip(ones, counts, strict=True)])
            for ones in zip(*(row.filled(longest) for row in rows), strict=True)
        )
        known = rows[0].references
        with torch.inference_mode():
            network = guided_network(self.network, guidance, hidden.to(self.device) if bool(hidden.any()) else None)
            logits, iou = network.decode(
                self._tensors(features),
                coords.to(self.device),
                labels.to(self.device),
                masks,
                has_mask,
                reference=self._joined(known) if known else None,
            )
        chosen = slice(1, 4) if multimask else slice(0, 1)
        logits, iou = logits[:, chosen].float().cpu(), iou[:, chosen].cpu()
        if not bool(torch.isfinite(logits).all()):
            raise ModelError("model.nan", "The network returned numbers that are not finite; is the image finite?")
        parts = zip(rows, logits.split(counts), iou.split(counts), strict=True)
        return [_prediction(row, own_logits, own_iou, frame) for row, own_logits, own_iou in parts]

    def _row(self, prompts: SlicePrompts, frame: Frame, mask_input: np.ndarray | None) -> _Row:
        if prompts.references and not self.uses_references:
            raise PromptError(
                "prompt.references", f"The weights of {self.info.name} do not use references; leave them."
            )
        coords, labels = prompt_tokens(prompts, frame)
        hints = self._hints(prompts, frame, coords[0, labels[0] >= BOX_FIRST], mask_input)
        return _Row(coords, labels, hints, len(prompts.points) > 0, tuple(prompts.references))

    def reference(self, features: SliceFeatures, mask: np.ndarray) -> Reference | None:
        """See :meth:`PromptableModel.reference`."""
        if not self.uses_references:
            return super().reference(features, mask)
        small = features.frame.mask_logits(mask, self.low_res_size)
        if small is None:
            return None
        with torch.inference_mode():
            inside = torch.from_numpy(small > 0).float()[None, None].to(self.device)
            return self.network.reference_reader.refer(self._tensors(features), inside)

    def tokens(self, features: SliceFeatures) -> np.ndarray:
        """The image embedding, one vector for 8 x 8 pixels of the input; see the base class."""
        return channels_last(features.tensors["embedding"][0])

    def _tensors(self, features: SliceFeatures) -> dict[str, torch.Tensor]:
        return {name: torch.as_tensor(value, device=self.device).float() for name, value in features.tensors.items()}

    def _joined(self, references: tuple[Reference, ...]) -> Reference:
        """References of the same object as one, on the device: the model may have moved since they were made."""
        return {name: part.to(self.device) for name, part in joined(list(references)).items()}

    def _hints(
        self, prompts: SlicePrompts, frame: Frame, corners: torch.Tensor, mask_input: np.ndarray | None
    ) -> list[tuple[torch.Tensor, bool]]:
        """Mask prompts [1, h, w], each with whether it is the box's ellipse; raises ``prompt.empty``."""
        if mask_input is not None:
            return [(torch.as_tensor(mask_input, dtype=torch.float32)[None], False)]
        hints = []
        if prompts.mask is not None:
            mask = frame.mask_logits(prompts.mask, self.low_res_size)
            hints += [] if mask is None else [(torch.from_numpy(mask)[None], False)]
        if prompts.box is not None and self.network.config.dense_prior:
            hints.append((ellipse_prior(corners.reshape(1, 4), self.low_res_size, self.image_size)[0], True))
        if not hints and prompts.box is None and len(prompts.points) == 0:
            raise PromptError(
                "prompt.empty", "Expected a point, a box or a mask that is not too small for the network; got none."
            )
        return hints


@dataclass(frozen=True, eq=False)
class _Row:
    """One prompt in the network's terms: tokens, mask prompts (with whether each is the box's ellipse), references."""

    coords: torch.Tensor
    labels: torch.Tensor
    hints: list[tuple[torch.Tensor, bool]]
    has_points: bool
    references: tuple[Reference, ...]

    @property
    def form(self) -> tuple:
        """Rows of equal form can go through the network together."""
        return bool(self.hints), *map(id, self.references)

    def filled(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Coordinates [1, tokens, 2], kinds [1, tokens], and which of them only fill up the row, bool [1, tokens]."""
        more = tokens - self.coords.shape[1]
        hidden = torch.arange(tokens)[None] >= self.coords.shape[1]
        return F.pad(self.coords, (0, 0, 0, more)), F.pad(self.labels, (0, more), value=PADDING), hidden


def _prediction(row: _Row, logits: torch.Tensor, iou: torch.Tensor, frame: Frame) -> SlicePrediction:
    """The mean answer to a prompt's hints; logits [hints or 1, M, h, w], iou [hints or 1, M]."""
    answers = list(logits)
    for n, (hint, is_shape) in enumerate(row.hints):
        if is_shape and not row.has_points:
            answers[n] = lean_on_shape(answers[n], hint)
    low = torch.stack(answers).mean(dim=0)
    return SlicePrediction(low.numpy(), iou.mean(dim=0).clamp(0, 1).numpy(), frame.restore(low))


def lean_on_shape(logits: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """Masks that are nearly the box's ellipse lean towards it; others stay as they are.

    Where the answer is round, what differs from the ellipse is mostly noise, a muscle in a cavity or a lost border:
    people draw such objects smooth. The strength was chosen on data outside the test sets (see the model card).

    Args:
        logits: float32 [M, h, w].
        prior: float32 [1, h, w] from ``ellipse_prior``.
    """
    masks, ellipse = logits > 0, prior > 0
    union = (masks | ellipse).sum(dim=(1, 2)).clamp_min(1)
    likeness = ((masks & ellipse).sum(dim=(1, 2)) / union - ROUND_FROM) / (ROUND_FULLY - ROUND_FROM)
    return logits + LEAN * likeness.clamp(0, 1)[:, None, None] * prior


def enclosing_square(slice_shape: tuple[int, int], pixel_spacing: tuple[float, float]) -> Region:
    """The smallest centred region that holds the whole slice and is square in mm."""
    side = max(slice_shape[0] * pixel_spacing[0], slice_shape[1] * pixel_spacing[1])
    rows = max(slice_shape[0], round(side / pixel_spacing[0]))
    cols = max(slice_shape[1], round(side / pixel_spacing[1]))
    row0, col0 = -((rows - slice_shape[0]) // 2), -((cols - slice_shape[1]) // 2)
    return Region(row0, col0, row0 + rows, col0 + cols)


def prompt_tokens(prompts: SlicePrompts, frame: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and box as token coordinates [1, T, 2] in network pixels and kinds [1, T].

    As in SAM: points first; a box adds two tokens; points without a box are followed by one padding token.
    """
    coords = [frame.to_network(prompts.points)]
    labels = [np.asarray(prompts.labels, dtype=np.int64)]
    if prompts.box is not None:
        coords.append(frame.to_network(np.asarray(prompts.box, dtype=np.float64).reshape(2, 2)))
        labels.append(np.array([BOX_FIRST, BOX_SECOND]))
    else:
        coords.append(np.zeros((1, 2)))
        labels.append(np.array([PADDING]))
    stacked = torch.from_numpy(np.concatenate(coords)).float()[None]
    return stacked, torch.from_numpy(np.concatenate(labels))[None]


def load_embedded(device: str = "cpu", path: Path | None = None) -> EmbeddedModel:
    """The built-in model on a device.

    Args:
        device: ``cpu`` or ``cuda``…
        path: other weights of the same network (a result of ``scripts/train_default_model.py --export``).

    Raises:
        ModelError: ``checkpoint.missing`` or ``checkpoint.mismatch``.
    """
    from safetensors import safe_open

    path = WEIGHTS if path is None else Path(path)
    if not path.is_file():
        raise ModelError("checkpoint.missing", f"The weights {path.name} are missing; reinstall the library.")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if "config" not in metadata:
        raise ModelError("checkpoint.mismatch", f"{path.name} is not a checkpoint of the built-in network.")
    config = json.loads(metadata["config"])
    network = HybridSam(HybridConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ModelError(
            "checkpoint.mismatch", f"{path.name}: missing {missing[:3]}, unexpected {list(unexpected)[:3]}."
        )
    shipped = path == WEIGHTS
    info = ModelInfo(
        "built-in" if shipped else path.stem, "embedded", "hybrid-128", _digest(path, path.stat().st_mtime_ns),
        "shipped" if shipped else path.name, "Apache-2.0",
    )  # fmt: skip
    return EmbeddedModel(network, info, device)


@lru_cache(maxsize=8)
def _digest(path: Path, _modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
