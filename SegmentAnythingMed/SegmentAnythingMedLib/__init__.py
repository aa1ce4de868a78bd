"""Promptable segmentation of medical volumes: a prompt on a slice becomes a volume of masks.

One box on slice 14 of the CT that comes with the library, from the root of the checkout:

    >>> from SegmentAnythingMedLib import Session, SlicePrompts, load_model, load_volume, propagate, save_mask
    >>> volume = load_volume("SegmentAnythingMed/Resources/SampleData/CTPelvisBladder/ct.nii.gz")
    >>> session = Session(volume, load_model("built-in", device="cpu"))
    >>> bladder = propagate(session, {14: SlicePrompts(box=(121.5, 54.5, 188.5, 111.5))})
    >>> bladder.records[14].reason, bladder.records[15].reason
    ('seed', 'forward')
    >>> bladder.lower < 14 < bladder.upper
    True
    >>> save_mask(bladder.stack(), volume, "bladder.nii.gz")

The slices of this volume run along K, so that ``stack()`` is the mask [K, J, I]. For other axes, several objects,
prompts in millimetres and a report there is :func:`SegmentAnythingMedLib.apps.pipelines.segment_volume`.

The names below are the library's front door. Each is imported when it is first used, so that ``import
SegmentAnythingMedLib`` needs nothing but the standard library: 3D Slicer does so long before torch is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, DeviceError, DownloadError, InputError, ModelError, PromptError, SegmentAnythingMedError
from .progress import Progress

if TYPE_CHECKING:
    from .adaptive.transform_files import load_transform, save_transform
    from .adaptive.transforms import VisitTransform
    from .adaptive.visits import PriorVisit, adapt
    from .engine.session import Session
    from .files.dicom_seg import read_seg
    from .files.dicom_seg_write import write_seg
    from .files.drafts import Draft, Origin
    from .files.images import load_mask, load_volume, save_mask, save_volume
    from .files.rtstruct import read_structure_set
    from .files.rtstruct_write import write_rtstruct
    from .files.structures import load_structures
    from .models.catalog import list_models, load_model
    from .models.downloads import download_model
    from .models.stored import import_model, remove_model, verify_models
    from .prompts.types import SlicePrompts
    from .propagation.memory_settings import MemorySettings
    from .propagation.settings import PropagationSettings
    from .propagation.walk import propagate
    from .space.affine import Affine
    from .space.volume import Volume

__version__ = "0.1.0"

_HOMES = {
    "Affine": "space.affine",
    "Draft": "files.drafts",
    "MemorySettings": "propagation.memory_settings",
    "Origin": "files.drafts",
    "PriorVisit": "adaptive.visits",
    "PropagationSettings": "propagation.settings",
    "Session": "engine.session",
    "SlicePrompts": "prompts.types",
    "VisitTransform": "adaptive.transforms",
    "Volume": "space.volume",
    "adapt": "adaptive.visits",
    "download_model": "models.downloads",
    "import_model": "models.stored",
    "list_models": "models.catalog",
    "load_mask": "files.images",
    "load_model": "models.catalog",
    "load_structures": "files.structures",
    "load_transform": "adaptive.transform_files",
    "load_volume": "files.images",
    "propagate": "propagation.walk",
    "read_seg": "files.dicom_seg",
    "read_structure_set": "files.rtstruct",
    "remove_model": "models.stored",
    "save_mask": "files.images",
    "save_transform": "adaptive.transform_files",
    "save_volume": "files.images",
    "verify_models": "models.stored",
    "write_rtstruct": "files.rtstruct_write",
    "write_seg": "files.dicom_seg_write",
}

__all__ = [
    "Affine",
    "Cancelled",
    "DeviceError",
    "DownloadError",
    "Draft",
    "InputError",
    "MemorySettings",
    "ModelError",
    "Origin",
    "PriorVisit",
    "Progress",
    "PromptError",
    "PropagationSettings",
    "SegmentAnythingMedError",
    "Session",
    "SlicePrompts",
    "VisitTransform",
    "Volume",
    "__version__",
    "adapt",
    "download_model",
    "import_model",
    "list_models",
    "load_mask",
    "load_model",
    "load_structures",
    "load_transform",
    "load_volume",
    "propagate",
    "read_seg",
    "read_structure_set",
    "remove_model",
    "save_mask",
    "save_transform",
    "save_volume",
    "verify_models",
    "write_rtstruct",
    "write_seg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
