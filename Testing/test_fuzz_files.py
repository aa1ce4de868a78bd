"""Damaged files: whatever the bytes, only our own error may come out, and nothing is logged."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import make_enhanced, make_series, write
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.images import load_volume, save_volume
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume


def noise(dtype) -> np.ndarray:
    """Voxels [2, 20, 20]."""
    return np.random.default_rng(0).uniform(1, 100, (2, 20, 20)).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".dcm", "enhanced.dcm", ".png"])
def test_mutated_files_raise_only_our_errors(tmp_path, suffix, caplog, recwarn):
    """Fuzzing with fixed seeds: any byte may be wrong, only our own error may come out."""
    if suffix == ".dcm":
        path = write(tmp_path, make_series(1)) / "slice000.dcm"
    elif suffix == "enhanced.dcm":
        path = write(tmp_path, [make_enhanced()]) / "slice000.dcm"
    elif suffix == ".png":
        path = tmp_path / "a.png"
        sitk.WriteImage(sitk.GetImageFromArray(noise(np.uint8)[0]), str(path))
    else:
        path = tmp_path / f"a{suffix}"
        save_volume(Volume(noise(np.int16), Affine(np.eye(4))), path)
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        data = bytearray(original)
        reach = min(len(data), 1500)
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(reach))] = int(rng.integers(256))
        path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 1))] if rng.random() < 0.3 else data))
        try:
            load_volume(path)
        except InputError:
            refused += 1
    assert refused > 5
    assert not caplog.records
    assert not [warning for warning in recwarn if "pydicom" in str(warning.filename)]
