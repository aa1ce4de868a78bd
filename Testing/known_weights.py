"""Weights and images made by a formula, and the numbers that published code gives for them.

Some families have no installable package to compare with. ``known_outputs.json`` holds what the encoders of their
public repositories returned once for these weights and images; only the numbers are kept.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

OUTPUTS = json.loads((Path(__file__).parent / "known_outputs.json").read_text(encoding="utf-8"))
PROBES = 24


def fill(encoder: torch.nn.Module) -> None:
    """Set every parameter and buffer by its name: noise, scaled so that numbers neither vanish nor explode."""
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            values = torch.from_numpy(noise(tensor.numel(), zlib.crc32(name.encode()))).reshape(tensor.shape)
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.copy_(1 + 0.3 * values)
            elif tensor.ndim > 1:
                tensor.copy_(values * 2.5 / math.sqrt(tensor.numel() / tensor.shape[0]))
            else:
                tensor.copy_(0.2 * values)


def noise(count: int, seed: int) -> np.ndarray:
    """float32 [count] between -1 and 1: the far digits of a sine, the same on every machine."""
    far = np.sin(np.arange(count, dtype=np.float64) * 12.9898 + seed % 1009) * 43758.5453
    return (2 * (far - np.floor(far)) - 1).astype(np.float32)


def image(size: int) -> torch.Tensor:
    """float32 [1, 3, size, size]."""
    return torch.from_numpy(2 * noise(3 * size * size, 7)).reshape(1, 3, size, size)


def probe(output: torch.Tensor) -> list[float]:
    """A few numbers of an output, spread over all of it."""
    flat = output.flatten()
    return [float(flat[(n * (len(flat) - 1)) // (PROBES - 1)]) for n in range(PROBES)]
