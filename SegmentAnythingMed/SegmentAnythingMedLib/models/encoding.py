"""Running an image encoder: reduced precision with one repeat in float32, batches split where memory is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..errors import DeviceError, ModelError
from .device import autocast, autocast_dtype

Run = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


@torch.no_grad()
def run_encoder(
    run: Run,
    inputs: torch.Tensor,
    *,
    device: str,
    dtype: torch.dtype | None,
    name: str,
    too_many: Callable[[], None] = lambda: None,
) -> tuple[torch.Tensor, ...]:
    """Features of prepared images; those that overflow in half precision are repeated in float32 once.

    Args:
        run: inputs [B, ...] on the device -> feature maps [B, ...] each.
        inputs: float32 [B, 3, S, S], anywhere.
        device: where ``run`` computes.
        dtype: from :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; None is float32.
        name: of the model, for messages.
        too_many: called when the images did not fit into the memory together and are encoded one by one.

    Returns:
        The feature maps of ``run``, float32, finite.

    Raises:
        ModelError: ``model.nan`` when there is NaN or infinity in float32 too.
        DeviceError: ``device.memory`` when not even one image fits into the device's memory.
    """
    features = _run_or_split(run, inputs, device, dtype, name, too_many)
    if dtype is not None and not _finite(features):
        # the others stay as they are: what a slice gets must not depend on its neighbours
        spoiled = [n for n, maps in enumerate(zip(*features, strict=True)) if not _finite(maps)]
        for feature, repeated in zip(
            features, _run_or_split(run, inputs[spoiled], device, None, name, too_many), strict=True
        ):
            feature[spoiled] = repeated
    if not _finite(features):
        raise nan_error(name, "image encoder")
    return features


def channels_last(feature_map: Any) -> np.ndarray:
    """A feature map [C, h, w] (tensor of any device, or array of any float type) as float32 [h, w, C]."""
    array = feature_map.detach().float().cpu().numpy() if hasattr(feature_map, "detach") else feature_map
    return np.ascontiguousarray(np.moveaxis(np.asarray(array, dtype=np.float32), 0, -1))


def nan_error(name: str, part: str) -> ModelError:
    """What to say when a part of a network returns NaN in float32."""
    return ModelError(
        "model.nan",
        f"The {part} of {name} returned NaN or infinity in float32; its weights may be damaged. "
        "Check the checkpoint, or use another model.",
    )


def _finite(features: tuple[torch.Tensor, ...]) -> bool:
    return all(bool(torch.isfinite(feature).all()) for feature in features)


def _run_or_split(
    run: Run,
    inputs: torch.Tensor,
    device: str,
    dtype: torch.dtype | None,
    name: str,
    too_many: Callable[[], None] = lambda: None,
) -> tuple[torch.Tensor, ...]:
    try:
        with autocast(device, dtype):
            return tuple(feature.float() for feature in run(inputs.to(device)))
    except torch.OutOfMemoryError:
        pass  # go on outside: the exception keeps what filled the memory alive
    torch.cuda.empty_cache()
    if len(inputs) == 1:
        half = autocast_dtype(device) if dtype is None and device != "cpu" else None
        if half is None:
            raise DeviceError("device.memory", _memory_text(device, name))
        return _run_in_half(run, inputs, device, half, name)
    too_many()
    parts = [_run_or_split(run, one, device, dtype, name) for one in inputs.split(1)]
    return tuple(torch.cat(features) for features in zip(*parts, strict=True))


def _run_in_half(run: Run, inputs: torch.Tensor, device: str, half: torch.dtype, name: str) -> tuple[torch.Tensor, ...]:
    """One image in half precision because float32 does not fit."""
    features = _run_or_split(run, inputs, device, half, name)
    if not _finite(features):
        raise DeviceError("device.memory", _memory_text(device, name))
    return features


def _memory_text(device: str, name: str) -> str:
    free, total = (number / 2**30 for number in torch.cuda.mem_get_info(device))
    return (
        f"{name} needs more memory for one slice than {device} has free "
        f"({free:.1f} of {total:.1f} GiB); close other programs that use the GPU, or use --device cpu."
    )
