"""Registration of the shipped sample in Slicer's module Sample Data. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

RESOURCES = Path(__file__).parents[3] / "Resources"
CATEGORY = "Segment Anything Med"
SAMPLE_NAME = "SegmentAnythingMedCTPelvis"
NODE_NAME = "CTPelvisBladder"
FILE_NAME = "SegmentAnythingMed-CTPelvisBladder.nii.gz"
SAMPLE = RESOURCES / "SampleData" / "CTPelvisBladder" / "ct.nii.gz"
THUMBNAIL = RESOURCES / "Icons" / "SampleCTPelvisBladder.png"
SHA256 = "e86c85b2fdab0d8e241a07ea2745c2cdc0d8b705162fd2bdf4395166a80d1458"


def registerSampleData() -> None:  # noqa: N802 - Slicer's own name of it
    """Offer the CT of the tutorial (CC BY 4.0, see ATTRIBUTION.md beside it); its hash is checked when it is loaded.

    Connected to the application's ``startupCompleted()``; calling it again changes nothing.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        uris=SAMPLE.as_uri(),
        fileNames=FILE_NAME,
        nodeNames=NODE_NAME,
        thumbnailFileName=str(THUMBNAIL),
        checksums=f"SHA256:{SHA256}",
    )
