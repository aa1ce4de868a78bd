"""One step of interactive training: prompt, predict, correct where it is wrong, predict again.

The scheme is Algorithm 1 of MedicoSAM (Archit et al. 2025, section III; after Kirillov et al. 2023, appendix A) with
true neighbouring-slice prompts beside boxes and points, and with empty targets that teach the predicted IoU to fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..models.hybrid import (
    BOX_FIRST,
    BOX_SECOND,
    PADDING,
    POINT_NEGATIVE,
    POINT_POSITIVE,
    HybridSam,
    ellipse_prior,
)
from .crops import Sample

BOX_FOR_POINT = 0.4
"""Part of the samples prompted from a neighbour whose second prompt is a box on the slice in place of a point."""
RECALL_WEIGHT = 0.4
MASK_STRENGTH = 6.907
"""Logit of a binary mask prompt: the logit of 0.999."""


@dataclass(eq=False)
class Prompted:
    """A sample with its first prompts: a box (with or without the neighbour's mask) and a point."""

    image: np.ndarray  # float32 [1, S, S]
    targets: np.ndarray  # float32 [2, S/2, S/2]
    coords: np.ndarray  # float32 [2, 2, 2]
    labels: np.ndarray  # int64 [2, 2]
    masks: np.ndarray  # float32 [2, 1, S/2, S/2]
    has_mask: np.ndarray  # bool [2]
    ambiguous: np.ndarray  # bool [2]: a point alone may mean several things
    reference: np.ndarray | None  # float32 [1, S, S]: a slice where the first object is known
    reference_mask: np.ndarray | None  # float32 [1, S/2, S/2]


def _halve(array: np.ndarray) -> np.ndarray:
    rows, cols = array.shape[-2] // 2, array.shape[-1] // 2
    return array.reshape(*array.shape[:-2], rows, 2, cols, 2).mean(axis=(-3, -1))


def _box(mask: np.ndarray) -> np.ndarray:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([cols[0] - 0.5, rows[0] - 0.5, cols[-1] + 0.5, rows[-1] + 0.5])


def _roughen(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask as a model would have drawn it: grown, shrunk, or with a wavy border."""
    draw = rng.random()
    if draw < 0.4:
        return mask
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    size = np.sqrt(mask.sum())
    wave = ndimage.zoom(rng.standard_normal((6, 6)), mask.shape[0] / 6, order=1)[: mask.shape[0], : mask.shape[1]]
    rough = distance > rng.normal(0, 0.05) * size + wave * rng.uniform(0, 0.08) * size
    return rough if rough.any() else mask


def _inner_point(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(x, y) of a random inner pixel: often near the middle, sometimes anywhere."""
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    power = 0.0 if rng.random() < 0.3 else 4.0
    weights = np.where(mask, distance**power, 0).ravel()
    index = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))
    row, col = divmod(min(index, mask.size - 1), mask.shape[1])
    return np.array([col, row], dtype=np.float64)


def first_prompts(sample: Sample, rng: np.random.Generator) -> Prompted:
    """Draw the first prompts of a sample."""
    size = sample.image.shape[0]
    target, second = sample.targets[0] > 0.5, sample.targets[1] > 0.5
    masks = np.zeros((2, 1, size // 2, size // 2), dtype=np.float32)
    has_mask = np.zeros(2, dtype=bool)
    source = target
    if sample.from_previous or not target.any():
        source = _roughen(sample.previous, rng) if sample.previous.any() else target
        if rng.random() < 0.85:
            masks[0, 0] = np.where(_halve(source.astype(np.float32)) > 0.5, MASK_STRENGTH, -MASK_STRENGTH)
            has_mask[0] = bool((masks[0] > 0).any())
    box = _drawn_box(source, rng) if source.any() else np.array([size / 4, size / 4, size * 3 / 4, size * 3 / 4])
    if sample.from_previous:
        box = _box(source) if source.any() else box
        extent = np.array([box[2] - box[0], box[3] - box[1]])[[0, 1, 0, 1]]
        box += np.array([-1, -1, 1, 1]) * (0.05 * extent + 0.5)
        jitter = rng.choice([0.0, 0.05, 0.1, 0.2], p=[0.2, 0.4, 0.3, 0.1])
        box += rng.uniform(-1, 1, 4) * extent * jitter
    if not has_mask[0]:
        # what inference does with a box alone: the ellipse in it is the first guess
        masks[0] = ellipse_prior(torch.from_numpy(box[None]).float(), size // 2, size)[0].numpy()
        has_mask[0] = True
    with_box = second.any() and sample.from_previous and rng.random() < BOX_FOR_POINT
    if with_box:
        other = _drawn_box(second, rng)
        masks[1] = ellipse_prior(torch.from_numpy(other[None]).float(), size // 2, size)[0].numpy()
        has_mask[1] = True
        kinds, places = [BOX_FIRST, BOX_SECOND], other.reshape(2, 2)
    else:
        point = _inner_point(second, rng) if second.any() else np.array([size / 2, size / 2])
        kinds = [POINT_POSITIVE if second.any() else POINT_NEGATIVE, PADDING]
        places = np.stack([point, np.zeros(2)])
    coords = np.stack([box.reshape(2, 2), places]).astype(np.float32)
    labels = np.array([[BOX_FIRST, BOX_SECOND], kinds], dtype=np.int64)
    targets = _halve(sample.targets).astype(np.float32)
    return Prompted(
        sample.image[None].astype(np.float32), targets, coords, labels, masks, has_mask,
        np.array([False, not with_box]), *_known(sample, rng),
    )  # fmt: skip


def _drawn_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A person's box (x0, y0, x1, y1): meant to be tight, so the network must learn to rely on its sides."""
    box = _box(mask)
    extent = np.array([box[2] - box[0], box[3] - box[1]])[[0, 1, 0, 1]]
    return box + rng.uniform(-1, 1, 4) * extent * rng.choice([0.0, 0.03, 0.06, 0.1], p=[0.15, 0.3, 0.45, 0.1])


def _known(sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The slice where the object is known, with a mask as a model would have drawn it."""
    if sample.reference is None or not sample.reference_mask.any():
        return None, None
    mask = _roughen(sample.reference_mask, rng).astype(np.float32)
    return sample.reference[None].astype(np.float32), _halve(mask)[None]


def collate(items: list[Prompted]) -> dict[str, Tensor]:
    """A batch of B samples: ``image`` [B, 1, S, S]; the prompts of all, two per image, stacked to [2 B, ...].

    With references also ``reference`` [R, 1, S, S], ``reference_mask`` [R, 1, S/2, S/2] and ``reference_of`` [2 B], the
    reference of every prompt or -1.
    """
    known = [n for n, i in enumerate(items) if i.reference is not None]
    more = {}
    if known:
        reference_of = torch.full((2 * len(items),), -1, dtype=torch.long)
        reference_of[[2 * n for n in known]] = torch.arange(len(known))
        more = {
            "reference": torch.from_numpy(np.stack([items[n].reference for n in known])),
            "reference_mask": torch.from_numpy(np.stack([items[n].reference_mask for n in known])),
            "reference_of": reference_of,
        }
    return {
        **more,
        "ambiguous": torch.from_numpy(np.concatenate([i.ambiguous for i in items])),
        "image": torch.from_numpy(np.stack([i.image for i in items])),
        "target": torch.from_numpy(np.concatenate([i.targets for i in items])),
        "coords": torch.from_numpy(np.concatenate([i.coords for i in items])),
        "labels": torch.from_numpy(np.concatenate([i.labels for i in items])),
        "masks": torch.from_numpy(np.concatenate([i.masks for i in items])),
        "has_mask": torch.from_numpy(np.concatenate([i.has_mask for i in items])),
    }


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice per mask: logits [N, M, h, w], target [N, h, w] in 0..1 -> [N, M]."""
    target = target[:, None].expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # pixels near the object weigh as much as the rest: small objects would drown in background
    area = target.sum(dim=(2, 3)).clamp_min(16.0)
    weight = (4 * area / target[0, 0].numel()).clamp_max(1.0)
    cross = cross.mean(dim=(2, 3)) / weight.clamp_min(0.08) * 0.5
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum(dim=(2, 3)) + 8.0
    dice = 1 - overlap / (probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 8.0)
    return cross + dice


def true_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the masks ``logits > 0`` [N, M, h, w] with ``target > 0.5`` [N, h, w]; 0 for an empty target: [N, M]."""
    mask, truth = logits > 0, (target > 0.5)[:, None]
    union = (mask | truth).sum(dim=(2, 3))
    return (mask & truth).sum(dim=(2, 3)) / union.clamp_min(1)


def correction_points(logits: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One corrective click per prompt where the mask is wrong: coords [N, 1, 2] in network pixels, labels [N, 1]."""
    masks, truths = (logits > 0).numpy(), (target > 0.5).numpy()
    coords = np.zeros((len(masks), 1, 2), dtype=np.float32)
    labels = np.zeros((len(masks), 1), dtype=np.int64)
    for n, (mask, truth) in enumerate(zip(masks, truths, strict=True)):
        wrong = mask != truth
        place = wrong if wrong.any() else (truth if truth.any() else ~mask)
        x, y = _inner_point(place, rng) if place.any() else (0.0, 0.0)
        coords[n, 0] = 2 * np.array([x, y]) + rng.uniform(0, 1, 2)
        labels[n, 0] = POINT_POSITIVE if truth[int(y), int(x)] else POINT_NEGATIVE
    return torch.from_numpy(coords), torch.from_numpy(labels)


def _total(logits: Tensor, iou: Tensor, target: Tensor, ambiguous: Tensor) -> tuple[Tensor, dict[str, float]]:
    losses = mask_losses(logits, target)
    best = losses[:, 1:].min(dim=1).values
    single = losses[:, 0]
    per_prompt = torch.where(ambiguous, best + 0.4 * single, single + 0.2 * best)
    truth = true_iou(logits.detach(), target)
    estimate = F.mse_loss(iou, truth)
    shown = torch.where(ambiguous, truth[:, 1:].max(dim=1).values, truth[:, 0])
    present = (target > 0.5).flatten(1).any(dim=1)
    parts = {
        "box_iou": float(shown[~ambiguous & present].mean()),
        "point_iou": float(shown[ambiguous & present].mean()),
        "empty": float(((logits[:, 0] > 0).flatten(1).any(1))[~present].float().mean())
        if (~present).any()
        else float("nan"),
        "iou_mse": float(estimate.detach()),
    }
    return per_prompt.mean() + estimate, parts


def encode_batch(net: HybridSam, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Features of a batch's images, and what ``HybridSam.decode`` needs to know of its references (empty without)."""
    if net.reference_reader is None or "reference" not in batch:
        return net.image_encoder(batch["image"]), {}
    count = len(batch["image"])
    both = net.image_encoder(torch.cat([batch["image"], batch["reference"]]))
    reference = net.reference_reader.refer({k: v[count:] for k, v in both.items()}, batch["reference_mask"])
    return {k: v[:count] for k, v in both.items()}, {"reference": reference, "reference_of": batch["reference_of"]}


def recall_loss(
    net: HybridSam, features: dict[str, Tensor], reference: dict[str, Tensor], reference_of: Tensor, target: Tensor
) -> Tensor:
    """Cross-entropy between the object's cover of every cell and the one recalled from the reference alone."""
    rows = torch.nonzero(reference_of >= 0)[:, 0]
    seen = features["embedding"][rows // 2]
    recalled = net.reference_reader.recall(seen, {name: value[reference_of[rows]] for name, value in reference.items()})
    cover = F.adaptive_avg_pool2d(target[rows][:, None], seen.shape[-2:])
    return F.binary_cross_entropy(recalled[:, :1].clamp(1e-4, 1 - 1e-4), cover)


def training_step(
    net: HybridSam, batch: dict[str, Tensor], rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one batch: first prompts, then one or two corrected rounds with the previous logits as mask prompt."""
    features, known = encode_batch(net, batch)
    device = batch["image"].device
    count = len(batch["coords"])
    image_of = torch.arange(len(batch["image"]), device=device).repeat_interleave(2)
    coords, labels, target = batch["coords"], batch["labels"], batch["target"]
    ambiguous = batch["ambiguous"]
    logits, iou = net.decode(features, coords, labels, batch["masks"], batch["has_mask"], image_of, **known)
    loss, parts = _total(logits, iou, target, ambiguous)
    if known:
        recalled = recall_loss(net, features, known["reference"], known["reference_of"], target)
        loss, parts["recall"] = loss + RECALL_WEIGHT * recalled, float(recalled.detach())
    rounds = 2 if rng.random() < 0.35 else 1
    pick = torch.where(ambiguous, 1 + iou[:, 1:].argmax(dim=1), torch.zeros(count, dtype=torch.long, device=device))
    for turn in range(rounds):
        current = logits.detach()[torch.arange(count, device=device), pick]
        more, kinds = correction_points(current.cpu(), target.cpu(), rng)
        coords = torch.cat([more.to(device), coords], dim=1)
        labels = torch.cat([kinds.to(device), labels], dim=1)
        # now and then afresh: all clicks at once, beside the first mask prompt where there was one
        keep = torch.from_numpy(rng.random(count) < 0.75).to(device)
        shown = torch.where(keep[:, None, None, None], current[:, None].clamp(-20, 20), batch["masks"])
        logits, iou = net.decode(features, coords, labels, shown, keep | batch["has_mask"], image_of)
        pick = torch.zeros(count, dtype=torch.long, device=device)
        step_loss, step_parts = _total(logits, iou, target, torch.zeros_like(ambiguous))
        loss = loss + step_loss / rounds
        if turn == 0:
            parts["corrected_iou"] = step_parts["box_iou"]
    return loss, parts
