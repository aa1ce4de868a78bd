"""The shipped sample: what its ATTRIBUTION.md says is true, and nothing about the patient is in it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from SegmentAnythingMedLib import Session, SlicePrompts, load_mask, load_model, load_volume, propagate


def test_geometry_labels_and_size(sample: Path) -> None:
    ct, labels = (sitk.ReadImage(str(sample / f"{name}.nii.gz")) for name in ("ct", "labels"))
    assert ct.GetSize() == labels.GetSize() == (308, 168, 28)
    assert ct.GetPixelID() == sitk.sitkInt16
    assert np.allclose(ct.GetSpacing(), (0.935547, 0.935547, 2.5), atol=1e-6)
    for of in (sitk.Image.GetSpacing, sitk.Image.GetOrigin, sitk.Image.GetDirection):
        assert of(ct) == of(labels)
    voxels = sitk.GetArrayFromImage(labels)
    assert np.bincount(voxels.ravel())[1:].tolist() == [33370, 33049, 39987]
    bladder = np.flatnonzero((voxels == 1).any(axis=(1, 2)))
    assert (bladder[0], bladder[-1]) == (6, 23)
    hounsfield = sitk.GetArrayFromImage(ct)
    assert 0 < np.median(hounsfield[voxels == 1]) < 40  # urine and wall
    assert np.median(hounsfield[voxels == 2]) > 150
    assert sum(file.stat().st_size for file in sample.iterdir()) < 2_000_000


def test_attribution_and_no_free_text_in_the_headers(sample: Path) -> None:
    text = (sample / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "10.7937/ERZ5-QZ59", "TotalSegmentator"):
        assert words in text
    for name in ("ct", "labels"):
        with gzip.open(sample / f"{name}.nii.gz") as file:
            header = file.read(352)
        # data_type, db_name; descrip, aux_file; intent_name
        free_text = header[4:38] + header[148:252] + header[328:344]
        assert free_text.strip(b"\0") == b""
        assert header[348] == 0  # no header extensions


def test_sample_is_the_source_cropped(sample: Path, shared_data: Path) -> None:
    folder = shared_data / "ct-pelvis-dicom-rtstruct"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "ct")))
    source, ct = reader.Execute(), sitk.ReadImage(str(sample / "ct.nii.gz"))
    assert np.allclose(source.TransformIndexToPhysicalPoint((104, 176, 0)), ct.GetOrigin(), atol=1e-3)
    assert np.array_equal(sitk.GetArrayFromImage(source)[:, 176:344, 104:412], sitk.GetArrayFromImage(ct))


def test_changed_prompts_encode_no_slice_of_the_bladder_again(sample: Path) -> None:
    volume = load_volume(sample / "ct.nii.gz")
    index = 15
    rows, cols = np.nonzero(np.asarray(load_mask(sample / "labels.nii.gz", volume))[index] == 1)
    box = np.array([cols.min() - 0.5, rows.min() - 0.5, cols.max() + 0.5, rows.max() + 0.5])
    middle = (box[:2] + box[2:])[None] / 2
    with Session(volume, load_model("built-in", device="cpu")) as session:
        first = propagate(session, {index: SlicePrompts(box=tuple(box))})
        assert session.counters.encodes <= len(first.masks) + 2
        seen = set(first.records)
        point = np.array([1])
        for prompts in (
            SlicePrompts(box=tuple(box + 1)),
            SlicePrompts(box=tuple(box - 2)),
            SlicePrompts(middle, point, box=tuple(box)),
            SlicePrompts(middle - 0.25 * (box[2:] - box[:2]), point, box=tuple(box)),
        ):
            before = session.counters.encodes
            visited = set(propagate(session, {index: prompts}).records)
            assert session.counters.encodes - before <= len(visited - seen)
            seen |= visited
