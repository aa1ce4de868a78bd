"""What the tests share: real data when it is there, the shipped sample, one thread."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before torch or numpy is imported: the machines that run this have few cores, and results must not depend on them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from slicer_fixtures import make_segmentation, make_volume, rendering, slice_view, slicer_gui, slicer_host

__all__ = ["make_segmentation", "make_volume", "rendering", "slice_view", "slicer_gui", "slicer_host"]

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "SegmentAnythingMed" / "Resources" / "SampleData" / "CTPelvisBladder"
DATA_VARIABLE = "SEGMENT_ANYTHING_MED_DATA"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with references; the test is skipped where it is missing."""
    folder = Path(os.environ.get(DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data")
    if not (folder / "README.md").is_file():
        pytest.skip(f"real test data are not on this machine ({DATA_VARIABLE} names their folder)")
    return folder.resolve()


@pytest.fixture(scope="session")
def sample() -> Path:
    """Folder of the shipped sample: ``ct.nii.gz``, ``labels.nii.gz``, ``ATTRIBUTION.md``."""
    return SAMPLE


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """A test that changes torch's thread count does not change the next one's speed or sums."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
