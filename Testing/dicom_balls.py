"""The two bright balls of the stub model as DICOM series, for jobs that read and write DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_phantom import AXIAL, make_slice, positions, write
from stub_model import two_balls

STEP = 2.0


def save_ball_series(folder: Path, orientation=AXIAL, voxels: np.ndarray | None = None, **tags) -> Path:
    """24 slices of 64 x 64 pixels of 1 mm, 2 mm apart; ``tags`` replace or (None) remove what each slice has."""
    volume, _ = two_balls()
    stored = (volume.voxels if voxels is None else voxels).astype(np.uint16)
    places = positions(len(stored), orientation, STEP)
    values = {"Modality": "MR", "PixelSpacing": [1.0, 1.0], "RescaleIntercept": 0, "WindowCenter": None}
    slices = [
        make_slice(pixels, place, orientation, **{"InstanceNumber": n + 1, **values, **tags})
        for n, (pixels, place) in enumerate(zip(stored, places, strict=True))
    ]
    return write(folder, slices)
