"""Voxel values -> 0..1, once per volume, never slice by slice.

What ``auto`` does, first rule that fits:

1. 8-bit colour, 8-bit one-slice images and 8-bit ultrasound or photographs: 0..255 as they are.
2. Hounsfield units: the window of the DICOM header, else ``soft-tissue``. A window cannot be moved by metal.
3. Everything else: 0.5 to 99.5 percentile; of the voxels above zero when the background is zero, which then stays zero.

A file that does not say what it holds (NIfTI, NRRD) counts as CT when its values look like Hounsfield units:
see :func:`looks_like_hu`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .statistics import VoxelStatistics, volume_statistics
from .volume import Volume

WINDOWS: dict[str, tuple[float, float]] = {
    "soft-tissue": (40.0, 400.0),
    "abdomen": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "lung-lesion": (-750.0, 1500.0),
    "brain": (40.0, 80.0),
    "bone": (400.0, 1800.0),
    "mediastinum": (50.0, 350.0),
    "liver": (30.0, 150.0),
}
"""Preset -> (level, width) in HU. soft-tissue, lung and brain are those of MedSAM's utilities, lung-lesion that of
MedSAM2's example; bone, mediastinum and liver are general radiological practice."""

PERCENTILES = (0.005, 0.995)
_SHOWN_AS_THEY_ARE = {"US", "XC", "ES", "GM", "SM", "OP", "OT"}
"""Modalities whose 8-bit pixels are display values already."""
_ZERO_BACKGROUND = 0.01
_STRAY_NEGATIVES = 0.05


@dataclass(frozen=True)
class IntensityMapping:
    """A straight line from voxel values to 0..1, cut at both ends.

    Attributes:
        lower: value that becomes 0.
        upper: value that becomes 1.
        mode: ``window``, ``percentile``, ``range`` or ``none`` (a constant image).
        name: where the numbers come from: a preset, ``header``, ``level,width``, ``0.5-99.5``, ``0-255``...
        ignores_zero: voxels that are exactly 0 stay 0 (background of many MR, PET and masked images).
        notes: sentences for the report.
    """

    lower: float
    upper: float
    mode: str
    name: str
    ignores_zero: bool = False
    notes: tuple[str, ...] = ()

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Map values of any real type and shape to float32 0..1; NaN and -inf become 0, +inf becomes 1."""
        array = np.asarray(array)
        if not self.upper > self.lower:
            return np.zeros(array.shape, dtype=np.float32)
        # 32-bit integers do not fit float32's 24 bits of mantissa
        wide = array.dtype.itemsize > 4 or (array.dtype.kind in "iu" and array.dtype.itemsize == 4)
        out = array.astype(np.float64 if wide else np.float32)
        out -= self.lower
        out *= 1.0 / (self.upper - self.lower)
        np.clip(out, 0.0, 1.0, out=out)
        if array.dtype.kind == "f":
            out[np.isnan(out)] = 0.0
        if self.ignores_zero:
            out[array == 0] = 0.0
        return out.astype(np.float32, copy=False)

    def describe(self) -> dict[str, Any]:
        """JSON form for the report."""
        return {
            "mode": self.mode,
            "name": self.name,
            "lower": float(self.lower),
            "upper": float(self.upper),
            "ignores_zero": bool(self.ignores_zero),
            "notes": list(self.notes),
        }


def estimate_mapping(volume: Volume, spec: str = "auto") -> IntensityMapping:
    """The mapping of a volume from its own statistics or from a window.

    Args:
        volume: read once, slice by slice; never copied as a whole.
        spec: ``auto`` (rules in the module's text), a preset of :data:`WINDOWS`, ``LEVEL,WIDTH`` in voxel units,
            ``header`` (DICOM window), ``percentile`` or ``range`` (smallest to largest finite voxel).

    Raises:
        InputError: ``option.window`` for a spec that is none of these, a width that is not above zero, or ``header``
            when the header has no window.
    """
    statistics = volume_statistics(volume.voxels)
    spec = str(spec).strip().lower()
    if spec == "auto":
        mapping = _automatic(volume, statistics)
    elif spec == "percentile":
        mapping = _percentile(statistics, use_zero_rule=volume.is_hu is not True)
    elif spec == "range":
        mapping = IntensityMapping(statistics.minimum, statistics.maximum, "range", "minimum-maximum")
    elif spec == "header":
        mapping = _header_window(volume)
    elif spec in WINDOWS:
        mapping = _preset(volume, statistics, spec)
    else:
        mapping = _level_width(spec)
    return _with_contrast_note(mapping, statistics)


def looks_like_hu(volume: Volume, statistics: VoxelStatistics) -> bool:
    """Guess whether voxels of unknown origin are Hounsfield units.

    True when the smallest value lies between -3100 (padding of some scanners) and -500 (lung, air), the largest is
    above 100 and at least 2 % of the voxels lie between -200 and 300 (fat to contrast-enhanced tissue).
    """
    if volume.is_hu is not None:
        return volume.is_hu
    if volume.modality is not None:
        return volume.modality == "CT"
    plausible = -3100.0 <= statistics.minimum <= -500.0 and statistics.maximum >= 100.0
    return volume.channels == 1 and plausible and statistics.fraction(-200.0, 300.0) >= 0.02


def _automatic(volume: Volume, statistics: VoxelStatistics) -> IntensityMapping:
    eight_bit = volume.voxels.dtype == np.uint8
    flat = volume.channels >= 3 or 1 in volume.shape or volume.modality in _SHOWN_AS_THEY_ARE
    if eight_bit and flat and volume.modality not in {"CT", "MR", "PT", "NM"}:
        return IntensityMapping(0.0, 255.0, "range", "0-255")
    if looks_like_hu(volume, statistics):
        if volume.window is not None and volume.window[1] > 1:
            return _header_window(volume)
        mapping = _window(*WINDOWS["soft-tissue"], "soft-tissue")
        if volume.is_hu is None and volume.modality is None:
            note = "The file does not name its modality; the values look like Hounsfield units and were taken for CT."
            return IntensityMapping(mapping.lower, mapping.upper, mapping.mode, mapping.name, notes=(note,))
        return mapping
    return _percentile(statistics, use_zero_rule=volume.modality != "CT")


def _window(level: float, width: float, name: str, notes: tuple[str, ...] = ()) -> IntensityMapping:
    return IntensityMapping(level - width / 2, level + width / 2, "window", name, notes=notes)


def _header_window(volume: Volume) -> IntensityMapping:
    if volume.window is None:
        raise InputError(
            "option.window", "Expected a display window in the image header, found none; give a preset or LEVEL,WIDTH."
        )
    level, width = volume.window
    return _window(level, width, "header")


def _preset(volume: Volume, statistics: VoxelStatistics, name: str) -> IntensityMapping:
    notes: tuple[str, ...] = ()
    if not looks_like_hu(volume, statistics):
        notes = (f"The window {name} is meant for Hounsfield units; these voxels do not seem to be HU.",)
    return _window(*WINDOWS[name], name, notes)


def _level_width(spec: str) -> IntensityMapping:
    parts = spec.split(",")
    try:
        level, width = (float(part) for part in parts)
    except ValueError:
        known = ", ".join(WINDOWS)
        raise InputError(
            "option.window",
            f"Expected LEVEL,WIDTH, auto, header, percentile, range or one of {known}; got {spec!r}.",
        ) from None
    if not (np.isfinite(level) and np.isfinite(width) and width > 0):
        raise InputError("option.window", f"Expected a finite level and a width above zero, got {spec!r}.")
    return _window(level, width, "level,width")


def _percentile(statistics: VoxelStatistics, use_zero_rule: bool) -> IntensityMapping:
    """0.5 to 99.5 percentile; voxels <= 0 are left out when zero is the background."""
    zero = False
    if use_zero_rule and statistics.maximum > 0:
        below = 1.0 - statistics.fraction(0.0, np.inf)
        zero = below < _STRAY_NEGATIVES and statistics.fraction(0.0, 0.0) >= _ZERO_BACKGROUND
    above = 0.0 if zero else None
    lower, upper = (statistics.quantile(fraction, above) for fraction in PERCENTILES)
    if not upper > lower:
        # nearly everything has one value (a sparse image): all values between the extremes count
        lower, upper = (0.0 if zero else statistics.minimum), statistics.maximum
    return IntensityMapping(lower, upper, "percentile", "0.5-99.5", ignores_zero=zero)


def _with_contrast_note(mapping: IntensityMapping, statistics: VoxelStatistics) -> IntensityMapping:
    note, mode = None, mapping.mode
    if not statistics.maximum > statistics.minimum:
        note, mode = "The image has no contrast: all voxels have the same value.", "none"
    elif mapping.mode == "window" and (statistics.maximum <= mapping.lower or statistics.minimum >= mapping.upper):
        note = "The image has no contrast in this window: all voxels lie outside it; choose another window."
    if note is None:
        return mapping
    return IntensityMapping(
        mapping.lower, mapping.upper, mode, mapping.name, mapping.ignores_zero, (*mapping.notes, note)
    )
