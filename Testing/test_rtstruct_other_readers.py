"""RTSTRUCT between this library and rt-utils, in both directions, where that package is installed.

It is no extra of the project: it wants opencv with its window system, and a backport of a standard module. It takes
pixel centres for vertices, in and out, so that edges differ by up to a pixel, and never more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_balls import save_ball_series
from dicom_phantom import AXIAL
from scipy import ndimage
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.drafts import Draft
from SegmentAnythingMedLib.files.mask_agreement import dice
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures
from stub_model import two_balls

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
rt_utils = pytest.importorskip("rt_utils", reason="rt-utils is not installed (not an extra of this project)")

ORIENTATIONS = {
    "axial": AXIAL, "sagittal": (0.0, 1, 0, 0, 0, -1), "mirrored": (-1.0, 0, 0, 0, -1, 0),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, 0.8),
}  # fmt: skip


def within_a_pixel(mask: np.ndarray, other: np.ndarray) -> bool:
    """True if every pixel in which two masks [K, J, I] differ touches the edge of the first within its slice."""
    square = np.ones((1, 3, 3), bool)
    edge = ndimage.binary_dilation(mask, square) & ~ndimage.binary_erosion(mask, square)
    return not ((mask != other) & ~edge).any()


def series_and_balls(tmp_path, orientation):
    tags = dict.fromkeys(("StudyDate", "StudyTime", "StudyID", "PatientBirthDate", "PatientSex"), "")
    folder = save_ball_series(tmp_path / "ct", orientation, SliceThickness=2.0, **tags)
    return folder, read_series(folder), two_balls()[1]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_what_is_written_here_is_read_there(tmp_path, name):
    folder, volume, labels = series_and_balls(tmp_path, ORIENTATIONS[name])
    drafts = [Draft("Left ball", labels == 1), Draft("Right ball", labels == 2)]
    write_rtstruct(tmp_path / "rt.dcm", volume, drafts)
    theirs = rt_utils.RTStructBuilder.create_from(str(folder), str(tmp_path / "rt.dcm"))
    assert theirs.get_roi_names() == ["Left ball", "Right ball"]
    for value, roi in enumerate(theirs.get_roi_names(), 1):
        mask = np.moveaxis(theirs.get_roi_mask_by_name(roi), 2, 0)
        mask = _in_our_order(mask, theirs, volume)
        assert within_a_pixel(labels == value, mask)
        assert dice(labels == value, mask) > 0.9


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_what_is_written_there_is_read_here(tmp_path, name):
    folder, volume, labels = series_and_balls(tmp_path, ORIENTATIONS[name])
    builder = rt_utils.RTStructBuilder.create_new(str(folder))
    places = {uid: n for n, uid in enumerate(volume.source.sop_instance_uids)}
    order = [places[image.SOPInstanceUID] for image in builder.series_data]
    for value, roi in ((1, "Left ball"), (2, "Right ball")):
        builder.add_roi(mask=np.moveaxis((labels == value)[order], 0, 2), name=roi)
    builder.save(str(tmp_path / "theirs.dcm"))
    for value, one in enumerate(load_structures(tmp_path / "theirs.dcm", volume).structures, 1):
        assert (one.name, one.status) == (("Left ball", "Right ball")[value - 1], "ok")
        assert within_a_pixel(labels == value, one.mask)
        assert dice(labels == value, one.mask) > 0.9


def _in_our_order(mask: np.ndarray, theirs, volume) -> np.ndarray:
    places = {uid: n for n, uid in enumerate(volume.source.sop_instance_uids)}
    out = np.zeros_like(mask)
    for n, image in enumerate(theirs.series_data):
        out[places[image.SOPInstanceUID]] = mask[n]
    return out


def test_contours_of_a_real_structure_set(shared_data: Path, tmp_path):
    folder = shared_data / "ct-pelvis-dicom-rtstruct"
    volume = read_series(folder / "ct")
    ours = load_structures(folder / "rtstruct.dcm", volume)
    dataset = pydicom.dcmread(folder / "rtstruct.dcm")
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    here = set(volume.source.sop_instance_uids)  # part of the series only, which the other reader does not accept
    series.ContourImageSequence = [i for i in series.ContourImageSequence if i.ReferencedSOPInstanceUID in here]
    dataset.save_as(tmp_path / "rt.dcm")
    theirs = rt_utils.RTStructBuilder.create_from(str(folder / "ct"), str(tmp_path / "rt.dcm"))
    for name, mask in ours.masks.items():
        other = _in_our_order(np.moveaxis(theirs.get_roi_mask_by_name(name), 2, 0), theirs, volume)
        assert dice(mask, other) > 0.96, name
