"""Promptable segmentation of medical volumes: a prompt on a slice becomes a volume of masks.

The names below are the library's front door. Each is imported when it is first used, so that ``import
SegmentAnythingMedLib`` needs nothing but the standard library: 3D Slicer does so long before torch is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, DeviceError, InputError, ModelError, PromptError, SegmentAnythingMedError
from .progress import Progress

if TYPE_CHECKING:
    from .engine.session import Session
    from .files.images import load_mask, load_volume, save_mask, save_volume
    from .models.catalog import list_models, load_model
    from .prompts.types import SlicePrompts
    from .propagation.settings import PropagationSettings
    from .propagation.walk import propagate
    from .space.affine import Affine
    from .space.volume import Volume

__version__ = "0.1.0"

_HOMES = {
    "Affine": "space.affine",
    "PropagationSettings": "propagation.settings",
    "Session": "engine.session",
    "SlicePrompts": "prompts.types",
    "Volume": "space.volume",
    "list_models": "models.catalog",
    "load_mask": "files.images",
    "load_model": "models.catalog",
    "load_volume": "files.images",
    "propagate": "propagation.walk",
    "save_mask": "files.images",
    "save_volume": "files.images",
}

__all__ = [
    "Affine",
    "Cancelled",
    "DeviceError",
    "InputError",
    "ModelError",
    "Progress",
    "PromptError",
    "PropagationSettings",
    "SegmentAnythingMedError",
    "Session",
    "SlicePrompts",
    "Volume",
    "__version__",
    "list_models",
    "load_mask",
    "load_model",
    "load_volume",
    "propagate",
    "save_mask",
    "save_volume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
