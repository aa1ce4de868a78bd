"""Makes the shipped sample (SegmentAnythingMed/Resources/SampleData/CTPelvisBladder) from its source, for the record.

    python scripts/make_sample.py FOLDER

FOLDER holds the 28 DICOM files in ``ct/`` and the rasterised contours in ``labels_rasterised.nrrd``; ATTRIBUTION.md of
the sample says where they come from. Only voxels and geometry are carried over, no names and no dates.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SAMPLE = Path(__file__).resolve().parent.parent / "SegmentAnythingMed" / "Resources" / "SampleData" / "CTPelvisBladder"
CROP = (slice(0, 28), slice(176, 344), slice(104, 412))  # K, J, I of the source: bladder and both hips
LABELS = {8: 1, 9: 2, 10: 3}  # urinary_bladder, femur_left, femur_right


def _crop(voxels: np.ndarray, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels[CROP]))
    image.SetSpacing(like.GetSpacing())
    image.SetDirection(like.GetDirection())
    image.SetOrigin(like.TransformIndexToPhysicalPoint([s.start for s in CROP[::-1]]))
    return image


def main(source: Path) -> None:
    """Write ``ct.nii.gz`` (int16, HU) and ``labels.nii.gz`` (uint8)."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source / "ct")))
    ct = reader.Execute()
    drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(source / "labels_rasterised.nrrd")))
    labels = np.zeros(drawn.shape, dtype=np.uint8)
    for old, new in LABELS.items():
        labels[drawn == old] = new
    SAMPLE.mkdir(parents=True, exist_ok=True)
    for name, voxels in (("ct", sitk.GetArrayFromImage(ct).astype(np.int16)), ("labels", labels)):
        sitk.WriteImage(_crop(voxels, ct), str(SAMPLE / f"{name}.nii.gz"), useCompression=True, compressionLevel=9)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
