"""The shipped sample in Slicer's module Sample Data: registered once, loaded by its name, checked by its hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image


def test_registered_once_and_loaded(slicer_host, sample) -> None:
    import SampleData
    import SimpleITK as sitk
    import slicer
    from SegmentAnythingMedLib.apps.slicer import sample_data

    sample_data.registerSampleData()
    sample_data.registerSampleData()
    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory(sample_data.CATEGORY)
    assert source.sampleName == sample_data.SAMPLE_NAME
    node = SampleData.downloadSample(sample_data.SAMPLE_NAME)
    assert node.GetName() == sample_data.NODE_NAME
    image = sitk.ReadImage(str(sample / "ct.nii.gz"))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(node.GetOrigin(), np.multiply(image.GetOrigin(), (-1, -1, 1)), atol=1e-3)


def test_hash_is_that_of_the_file(sample) -> None:
    from SegmentAnythingMedLib.apps.slicer import sample_data

    assert sample / "ct.nii.gz" == sample_data.SAMPLE
    assert hashlib.sha256(sample_data.SAMPLE.read_bytes()).hexdigest() == sample_data.SHA256


def test_changed_file_is_refused(slicer_host, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import SampleData
    from SegmentAnythingMedLib.apps.slicer import sample_data

    changed = tmp_path / "ct.nii.gz"
    changed.write_bytes(sample_data.SAMPLE.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(sample_data, "SAMPLE", changed)
    sample_data.registerSampleData()
    with pytest.raises(ValueError, match="hash"):
        SampleData.downloadSample(sample_data.SAMPLE_NAME)


def test_thumbnail_and_attribution_are_there(sample) -> None:
    from SegmentAnythingMedLib.apps.slicer import sample_data

    with Image.open(sample_data.THUMBNAIL) as picture:
        assert picture.size == (260, 280)
    assert "CC BY 4.0" in (sample / "ATTRIBUTION.md").read_text(encoding="utf-8")
