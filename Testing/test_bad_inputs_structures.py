"""Faulty structures of a prior visit: what each region becomes, in words and voxels, and nothing else.

The numbers are those of the list of faults in the specification (workflow, 5.7 I, and 23 of A).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from dicom_phantom import make_series, write
from rtstruct_phantom import contour, save, structure_set
from seg_phantom import make_seg
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.structures import load_structures
from SegmentAnythingMedLib.space.volume import Volume
from test_rtstruct import HOLE, SQUARE, keyhole, on_slice

RING, ISLAND = 42 - 6, 1
LONE = np.array([[3.5, 4.5], [4.5, 4.5], [4.5, 5.5], [3.5, 5.5]])  # one pixel, in the hole


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Volume:
    return read_series(write(tmp_path_factory.mktemp("ct"), make_series()))


def off_plane(volume: Volume):
    """A contour that does not lie in one plane at all."""
    ijk = np.column_stack([SQUARE, [0.0, 1.0, 0.0, 2.0]])
    return contour(volume.affine.ijk_to_lps(ijk))


FAULTS: dict[str, tuple[Callable, str, int, str]] = {
    # name: (contours, status, voxels, words)
    "115 no contour": (lambda v: [], "empty", 0, "left out, it is empty"),
    "115 a point": (lambda v: [on_slice(v, 2, SQUARE[:1], kind="POINT")], "not_closed", 0, "enclose nothing"),
    "115 an open line": (lambda v: [on_slice(v, 2, kind="OPEN_PLANAR")], "not_closed", 0, "enclose nothing"),
    "115 two points": (lambda v: [on_slice(v, 2, SQUARE[:2])], "not_closed", 0, "enclose nothing"),
    "115 a point beside a contour": (
        lambda v: [on_slice(v, 2), on_slice(v, 3, SQUARE[:1], kind="POINT")], "ok", 42, "not"),
    "116 beside the image": (lambda v: [on_slice(v, 2, SQUARE + 500)], "outside", 0, "outside of the image"),
    "116 above the image": (lambda v: [on_slice(v, 40)], "outside", 0, "outside of the image"),
    "116 half outside": (lambda v: [on_slice(v, 2, SQUARE - (5, 0))], "ok", 7 * 3, "reach beyond the image's border"),
    "116 a little off its slice": (lambda v: [on_slice(v, 2.3)], "ok", 42, "moved to the nearest"),
    "116 in no plane at all": (lambda v: [off_plane(v)], "ok", 13, "a flattened form was used"),
    "116 last slice and beyond": (lambda v: [on_slice(v, 5), on_slice(v, 6)], "ok", 42, "beyond the image's slices"),
    "117 keyhole": (lambda v: [on_slice(v, 2, keyhole())], "ok", RING, ""),
    "117 XOR": (
        lambda v: [on_slice(v, 2, p, kind="CLOSEDPLANAR_XOR") for p in (SQUARE, HOLE)], "ok", RING, ""),
    "117 hole as a contour": (lambda v: [on_slice(v, 2, p) for p in (SQUARE, HOLE)], "ok", RING, ""),
    "117 nested rings": (lambda v: [on_slice(v, 2, p) for p in (SQUARE, HOLE, LONE)], "ok", RING + ISLAND, ""),
    "117 wound the other way": (lambda v: [on_slice(v, 2, p[::-1]) for p in (SQUARE, HOLE)], "ok", RING, ""),
    "122 one voxel": (lambda v: [on_slice(v, 0, LONE)], "ok", 1, ""),
    "122 at the edge": (lambda v: [on_slice(v, 0, SQUARE - (2, 2))], "ok", 42, ""),
    "xx smaller than a voxel": (lambda v: [on_slice(v, 2, LONE * 0.2 + (3.6, 4.1))], "too_small", 0, "no voxel centre"),
    "xx a gap": (lambda v: [on_slice(v, 1), on_slice(v, 4)], "ok", 84, "2 slices between the first and the last"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_region_becomes_what_it_means_or_says_why_not(tmp_path, volume, fault):
    make, status, voxels, words = FAULTS[fault]
    save(structure_set({"Good": [on_slice(volume, 2)], "Odd": make(volume)}), tmp_path / "rt.dcm")
    loaded = load_structures(tmp_path / "rt.dcm", volume)
    good, odd = loaded.structures
    assert (good.status, np.count_nonzero(good.mask)) == ("ok", 42), "the others are not touched"
    assert (odd.status, np.count_nonzero(odd.mask)) == (status, voxels)
    assert words in " ".join(text for text in loaded.remarks if text.startswith("Odd: "))
    assert ("Odd" in loaded.masks) == (voxels > 0)
    assert "SECRET" not in " ".join(loaded.remarks)


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_23_damaged_files_raise_only_our_errors(tmp_path, volume, kind, caplog, recwarn):
    """Fuzzing with fixed seeds: any byte may be wrong, only our own error may come out."""
    path = tmp_path / "a.dcm"
    if kind == "rtstruct":
        save(structure_set({"A": [on_slice(volume, 2)], "B": [on_slice(volume, 3)]}), path)
    else:
        source, pixels = volume.source, np.eye(12, 10)
        frames = [(1, source.positions[2], pixels), (2, source.positions[3], pixels)]
        save(make_seg(frames, source.pixel_spacing, source.orientation.ravel()), path)
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(60):
        data = bytearray(original)
        for _ in range(int(rng.integers(1, 6))):
            data[132 + int(rng.integers(len(data) - 132))] = int(rng.integers(256))
        path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 1))] if rng.random() < 0.3 else data))
        try:
            load_structures(path, volume)
        except InputError as error:
            refused.append(error.message)
    assert len(refused) > 5
    assert not [words for words in refused if str(tmp_path) in words or "SECRET" in words]
    assert not caplog.records
    assert not [warning for warning in recwarn if "pydicom" in str(warning.filename)]
