"""Bad files and volumes: a stable code, one plain sentence that says what to do, nothing changed on disk.

The numbers in the names are those of the list of faults in the specification (workflow, 5.7 A and B). What survives
with a note instead of an error is in the second table.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import SHAPE, make_series, make_slice, write
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.images import load_mask, load_volume, save_mask, save_volume
from SegmentAnythingMedLib.files.nifti import write_nifti
from SegmentAnythingMedLib.files.nifti_header import build_header
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.intensity import estimate_mapping
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume

EYE = Affine(np.eye(4))
Maker = Callable[[Path], Path]


def nifti(folder: Path, patches=(), data: bytes | None = None, name="a.nii", voxels=None) -> Path:
    """A small NIfTI file with (offset, format, values) patches in its header, or with other voxel bytes."""
    path = folder / name
    write_nifti(folder / "whole.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4) if voxels is None else voxels, EYE)
    content = bytearray((folder / "whole.nii").read_bytes())
    (folder / "whole.nii").unlink()
    for offset, kind, values in patches:
        struct.pack_into("<" + kind, content, offset, *values)
    if data is not None:
        content = content[:352] + data
    path.write_bytes(gzip.compress(bytes(content)) if name.endswith(".gz") else bytes(content))
    return path


def nrrd(folder: Path, fields: str = "", data: bytes = bytes(48), name="a.nrrd", sizes="4 3 2", geometry=None) -> Path:
    """A raw int16 NRRD with more header fields."""
    place = geometry or "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
    head = f"NRRD0004\ntype: short\ndimension: {len(sizes.split())}\n{place}sizes: {sizes}\nendian: little\n"
    (folder / name).write_bytes(f"{head}encoding: raw\n{fields}\n".encode() + data)
    return folder / name


def mha(folder: Path, spacing="1 1 1", size="4 3 2", file="LOCAL", data: bytes = bytes(48)) -> Path:
    """A raw int16 MetaImage."""
    head = f"ObjectType = Image\nNDims = {len(size.split())}\nBinaryData = True\nCompressedData = False\n"
    head += f"ElementSpacing = {spacing}\nDimSize = {size}\nElementType = MET_SHORT\nElementDataFile = {file}\n"
    (folder / "a.mha").write_bytes(head.encode() + data)
    return folder / "a.mha"


def content(folder: Path, name: str, data: bytes) -> Path:
    """A file of given bytes."""
    (folder / name).write_bytes(data)
    return folder / name


def cut(folder: Path, file: Path, keep: float) -> Path:
    """Keep only the first part of a file; returns ``folder``."""
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    return folder


def jpeg_cut_short(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(folder / "a.jpg"))
    cut(folder, folder / "a.jpg", 0.6)
    return folder / "a.jpg"


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../evil.nii", b"x")
    return folder / "a.zip"


def mixed_series(folder: Path) -> Path:
    sideways = make_series(6, orientation=(0, 1, 0, 0, 0, -1))
    return write(folder, make_series() + sideways)


def without(keyword: str) -> Maker:
    return lambda folder: write(folder / "s", make_series(**{keyword: None}))


def colour(folder: Path) -> Path:
    slices = [
        make_slice(np.zeros((*SHAPE, 3), np.uint8), (0, 0, n), SamplesPerPixel=3, PhotometricInterpretation="RGB",
                   PlanarConfiguration=0, Rows=SHAPE[0], Columns=SHAPE[1])
        for n in range(3)
    ]  # fmt: skip
    return write(folder, slices)


def header_of(shape, dtype=np.int16) -> bytes:
    data = bytearray(build_header((1, 1, 1), np.dtype(dtype), EYE))
    struct.pack_into("<8h", data, 40, 3, *shape, 1, 1, 1, 1)
    return bytes(data)


def detached_outside(folder: Path) -> Path:
    inner = folder / "inner"
    inner.mkdir()
    content(folder, "secret.raw", bytes(48))
    return nrrd(inner, "data file: ../secret.raw\n", b"", "a.nhdr")


def detached_link(folder: Path) -> Path:
    inner = folder / "inner"
    inner.mkdir()
    content(folder, "secret.raw", bytes(48))
    (inner / "a.raw").symlink_to(folder / "secret.raw")
    return nrrd(inner, "data file: a.raw\n", b"", "a.nhdr")


REFUSED: dict[str, tuple[Maker, str, str]] = {
    "01 path missing": (lambda f: f / "nothing.nii.gz", "input.missing", r"nothing\.nii\.gz was not found"),
    "01 folder missing": (lambda f: f / "nothing", "input.missing", "was not found"),
    "02 empty folder": (lambda f: f, "dicom.no_series", "no files at all"),
    "02 folder of other files": (
        lambda f: content(f, "notes.txt", b"hello").parent, "dicom.no_series", r"no readable series .*1 x \.txt"),
    "03 zero bytes": (lambda f: content(f, "a.nii.gz", b""), "input.empty", r"a\.nii\.gz is empty"),
    "03 zero-byte DICOM only": (lambda f: content(f, "a.dcm", b"").parent, "dicom.no_series", r"empty: a\.dcm"),
    "04 truncated DICOM pixels": (
        lambda f: cut(f, write(f, make_series()) / "slice003.dcm", 0.9), "dicom.truncated",
        r"slice003\.dcm \(instance [\d.]+\).*nothing was filled in"),
    "04 truncated DICOM header": (
        lambda f: cut(f, write(f, make_series()) / "slice003.dcm", 0.4), "dicom.missing_slices",
        r"cannot be read: slice003\.dcm"),
    "04 truncated NIfTI": (lambda f: nifti(f, data=bytes(30)), "input.truncated", "holds 30 bytes"),
    "04 truncated packed NIfTI": (
        lambda f: nifti(f, data=bytes(30), name="a.nii.gz"), "input.truncated", "ends after 30"),
    "04 damaged packed NIfTI": (
        lambda f: cut(f, nifti(f, name="a.nii.gz"), 0.7) / "a.nii.gz", "input.truncated", "copy the file again"),
    "04 truncated NRRD": (lambda f: nrrd(f, data=bytes(20)), "input.unreadable|input.truncated", "again"),
    "04 truncated MHA": (lambda f: mha(f, data=bytes(20)), "input.unreadable|input.truncated", "again"),
    "04 truncated JPEG": (jpeg_cut_short, "input.truncated", "ends too early"),
    "05 only fake DICOM": (lambda f: content(f, "a.dcm", b"hello" * 100), "dicom.no_series", "no readable series"),
    "06 two series": (
        lambda f: write(f, make_series() + make_series(series="1.2.77")), "dicom.several_series",
        r"choose one: 1\.2\.3\.4 \(6 slices\); 1\.2\.77 \(6 slices\)"),
    "07 duplicate positions": (
        lambda f: write(f, make_series() + make_series()), "dicom.duplicate_positions", r"100, 102\.5.*no tag"),
    "08 missing slice": (
        lambda f: write(f, make_series()[:2] + make_series()[3:]), "dicom.missing_slices",
        r"102\.50 and 107\.50.*--allow-gaps"),
    "16 phases": (
        lambda f: write(f, make_series(TriggerTime=0) + make_series(TriggerTime=40)), "dicom.several_volumes",
        r"TriggerTime.*1\.2\.3\.4#1, 1\.2\.3\.4#2"),
    "16 4-D NIfTI": (
        lambda f: nifti(f, [(40, "5h", (4, 4, 3, 1, 2))]), "input.four_d", "save the phase that you want"),
    "16 4-D NRRD": (
        lambda f: nrrd(f, "kinds: domain domain domain list\n", bytes(96), sizes="4 3 2 2",
                       geometry="space: left-posterior-superior\n"
                                "space directions: (1,0,0) (0,1,0) (0,0,1) none\n"),
        "input.four_d", "a series of 2"),
    "16 4-D MHA": (
        lambda f: mha(f, "1 1 1 1", "4 3 2 2", data=bytes(96)), "input.four_d", "4 x 3 x 2 x 2"),
    "17 mixed stacks": (mixed_series, "dicom.mixed", "2 kinds with 6, 6"),
    "21 colour": (colour, "dicom.colour", "export single pictures as PNG"),
    "21 no position": (without("ImagePositionPatient"), "dicom.no_geometry", "without position"),
    "21 no orientation": (without("ImageOrientationPatient"), "dicom.no_geometry", "orientation"),
    "21 no spacing": (without("PixelSpacing"), "dicom.no_geometry", "pixel spacing"),
    "21 crooked orientation": (
        lambda f: write(f, make_series(ImageOrientationPatient=[1, 0, 0, 0.5, 0.5, 0])), "dicom.no_geometry", "place"),
    "24 DICOMDIR": (
        lambda f: content(f, "DICOMDIR", bytes(128) + b"DICM" + bytes(50)), "dicom.no_series", "no readable series"),
    "26 archive": (zipped, "input.unsafe", "archives are not unpacked"),
    "28 zero spacing": (lambda f: nifti(f, [(80, "f", (0.0,))]), "volume.geometry", "above zero.*0 x 1 x 1"),
    "28 negative spacing": (lambda f: nifti(f, [(84, "f", (-1.0,))]), "volume.geometry", "1 x -1 x 1"),
    "28 NaN spacing": (lambda f: nifti(f, [(88, "f", (np.nan,))]), "volume.geometry", "1 x 1 x nan"),
    "28 singular sform": (lambda f: nifti(f, [(280, "12f", (0.0,) * 12)]), "volume.geometry", "above zero"),
    "28 parallel axes": (
        lambda f: nifti(f, [(280, "12f", (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0))]), "volume.geometry", "parallel"),
    "28 NaN in the sform": (lambda f: nifti(f, [(292, "f", (np.nan,))]), "volume.geometry", "NaN"),
    "28 NRRD NaN spacing": (
        lambda f: nrrd(f, geometry="spacings: nan 1 1\n"), "volume.geometry", "the header says nan"),
    "28 NRRD parallel axes": (
        lambda f: nrrd(f, geometry="space: left-posterior-superior\nspace directions: (1,0,0) (1,0,0) (0,0,1)\n"),
        "input.unreadable|volume.geometry", "direction|axes"),
    "28 MHA zero spacing": (lambda f: mha(f, "0 1 1"), "volume.geometry", "the header says 0"),
    "29 NIfTI claims too much": (
        lambda f: content(f, "a.nii", header_of((30000, 30000, 30000)) + bytes(10)), "input.too_large|input.truncated",
        "30000 x 30000 x 30000|header"),
    "29 packed NIfTI claims too much": (
        lambda f: content(f, "a.nii.gz", gzip.compress(header_of((3000, 3000, 3000)))),
        "input.too_large|input.truncated", "header|memory"),
    "29 NRRD claims 10^18": (
        lambda f: nrrd(f, sizes="1000000 1000000 1000000"), "input.too_large", "which no image has"),
    "29 MHA claims 10^18": (
        lambda f: mha(f, size="1000000 1000000 1000000"), "input.too_large", "which no image has"),
    "29 axis of zero": (lambda f: nifti(f, [(42, "h", (0,))]), "volume.shape", "or more along every axis"),
    "30 detached elsewhere": (detached_outside, "input.detached_outside", "another folder"),
    "30 detached through a link": (detached_link, "input.detached_outside", "another folder"),
    "30 detached absolute": (
        lambda f: nrrd(f, "data file: /etc/hostname\n", b"", "a.nhdr"), "input.detached_outside", "another folder"),
    "30 detached list": (
        lambda f: nrrd(f, "data file: LIST 2\n/etc/hostname\n../x.raw\n", b"", "a.nhdr"), "input.detached_outside",
        "another folder"),
    "30 detached MetaImage": (
        lambda f: mha(f, file="../../secret.raw", data=b""), "input.detached_outside", "another folder"),
    "30 detached MetaImage with a colon": (
        lambda f: content(f, "a.mha", mha(f).read_bytes().replace(b"DataFile = LOCAL", b"DataFile: ../x")),
        "input.detached_outside", "another folder"),
    "30 damaged name": (lambda f: mha(f, file="a\0b.raw", data=b""), "input.unreadable", "voxel file is damaged"),
    "30 detached missing": (
        lambda f: nrrd(f, "data file: gone.raw\n", b"", "a.nhdr"), "input.missing", r"gone\.raw"),
    "31 npz": (lambda f: content(f, "a.npz", b"PK\3\4"), "input.unsafe", "can carry code"),
    "31 pickle": (lambda f: content(f, "a.pkl", b"\x80\x04."), "input.unsafe", "can carry code"),
    "33 all NaN": (
        lambda f: nifti(f, voxels=np.full((2, 3, 4), np.nan, np.float32)), "volume.all_nan", "no voxel is a number"),
    "34 complex": (lambda f: nifti(f, [(70, "h", (32,))]), "volume.dtype", "integer, real or RGB"),
    "xx text named nii": (lambda f: content(f, "a.nii", b"hello" * 100), "input.unreadable", "single-file NIfTI"),
    "xx text named nrrd": (lambda f: content(f, "a.nrrd", b"hello" * 100), "input.unreadable", "begins with NRRD"),
    "xx text named png": (lambda f: content(f, "a.png", b"hello" * 100), "input.unreadable", "cannot be read"),
    "xx text named jpg": (lambda f: content(f, "a.jpg", b"hello" * 100), "input.unreadable", "JPEG"),
    "xx unknown ending": (lambda f: content(f, "a.docx", b"hello"), "input.unsupported", r"expected .*\.nrrd"),
}  # fmt: skip


def state(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with the hash of its content."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("fault", REFUSED)
def test_refused_with_a_code_and_a_sentence(tmp_path, fault):
    make, codes, words = REFUSED[fault]
    path = make(tmp_path)
    before = state(tmp_path)
    with pytest.raises(InputError, match=f"(?s){words}") as caught:
        load_volume(path)
    error = caught.value
    assert error.code in codes.split("|")
    assert "\n" not in error.message
    assert len(error.message) < 500
    assert str(tmp_path) not in error.message, "folder names may name a person"
    assert "SECRET" not in error.message
    assert state(tmp_path) == before


def noisy(dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 100, (4, 20, 20)).astype(dtype)


def with_value(value: float, dtype=np.float32) -> np.ndarray:
    voxels = noisy(dtype)
    voxels[0, 0, :3] = value
    return voxels


SURVIVED: dict[str, tuple[np.ndarray, tuple[float, float, float], str]] = {
    "14 single slice": (noisy()[:1], (1, 1, 1), ""),
    "32 all zeros": (np.zeros((4, 20, 20), np.int16), (1, 1, 1), "no contrast"),
    "32 constant": (np.full((4, 20, 20), 7, np.uint8), (1, 1, 1), "no contrast"),
    "33 NaN": (with_value(np.nan), (1, 1, 1), "3 voxels are NaN or infinite"),
    "33 infinity": (with_value(np.inf), (1, 1, 1), "3 voxels are NaN or infinite"),
    "34 int64": (noisy(np.int64), (1, 1, 1), ""),
    "34 float16": (noisy(np.float16), (1, 1, 1), ""),
    "34 uint32": (noisy(np.uint32), (1, 1, 1), ""),
    "34 bool": (noisy() > 50, (1, 1, 1), ""),
    "35 outlier": (with_value(30000, np.int16), (1, 1, 1), ""),
    "36 one line": (noisy()[:, :1, :1], (1, 1, 1), ""),
    "36 odd size": (noisy()[:3, :17, :1], (1, 1, 1), ""),
    "38 micro-CT": (noisy(), (0.01, 0.01, 0.01), ""),
    "38 coarse": (noisy(), (10, 10, 10), ""),
    "39 anisotropy 1:20": (noisy(), (0.5, 0.5, 10), ""),
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("fault", SURVIVED)
def test_survived_from_file_to_slice_and_back(tmp_path, fault, suffix):
    voxels, spacing, words = SURVIVED[fault]
    save_volume(Volume(voxels, Affine.from_parts(spacing)), tmp_path / f"a{suffix}")
    volume = load_volume(tmp_path / f"a{suffix}")
    with np.errstate(all="raise", under="ignore"):
        mapping = estimate_mapping(volume)
    notes = " ".join([*volume.notes, *mapping.notes])
    assert words in notes
    np.testing.assert_allclose(volume.spacing, spacing, rtol=1e-6)
    for axis in "kji":
        stack = SliceStack(volume, axis)
        image = mapping.apply(stack.image(stack.count - 1))
        assert image.shape == stack.shape
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1
    save_mask(volume.voxels > 0, volume, tmp_path / "mask.nii.gz")
    assert load_volume(tmp_path / "mask.nii.gz").same_grid(volume)


def test_35_an_outlier_does_not_take_the_contrast():
    with_metal = estimate_mapping(Volume(with_value(30000, np.int16), EYE))
    assert with_metal.upper < 120


def test_37_a_volume_beyond_memory_is_refused_with_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("SegmentAnythingMedLib.files.limits.machine_memory", lambda: 1 << 20)
    save_volume(Volume(np.zeros((40, 160, 160), np.int16), EYE), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"160 x 160 x 40|40 x 160 x 160") as caught:
        load_volume(tmp_path / "a.nii.gz")
    assert caught.value.code == "input.too_large"
    assert "crop or downsample" in caught.value.message


def test_27_sform_and_qform_apart_is_noted(tmp_path):
    volume = load_volume(nifti(tmp_path, [(292, "f", (3.0,))]))
    assert any("the sform was used" in note for note in volume.notes)
    assert not load_volume(nifti(tmp_path, [(292, "f", (0.05,))])).notes


def test_41_a_mask_elsewhere_is_refused_and_another_grid_noted(tmp_path):
    image = Volume(noisy(), EYE)
    mask = np.ones((4, 20, 20), bool)
    save_mask(mask, Volume(noisy(), EYE.shifted((500, 0, 0))), tmp_path / "mask.nrrd")
    with pytest.raises(InputError, match="none of its labelled voxels") as caught:
        load_mask(tmp_path / "mask.nrrd", image)
    assert caught.value.code == "mask.elsewhere"
    save_volume(Volume(noisy(), EYE), tmp_path / "fractions.nrrd")
    with pytest.raises(InputError, match="whole numbers") as caught:
        load_mask(tmp_path / "fractions.nrrd", image)
    assert caught.value.code == "volume.dtype"


OUTPUTS = {
    "npz": ("mask.npz", "output.format", r"ending in \.nii"),
    "no ending": ("mask", "output.format", "Expected a name"),
    "two files": ("mask.mhd", "output.format", "Expected a name"),
    "missing folder": ("gone/mask.nii.gz", "output.folder", "create it first"),
    "a folder": ("folder.nii.gz", "output.not_a_file", "is a folder"),
    "file as folder": ("file.txt/mask.nii.gz", "output.folder", "does not exist"),
}


@pytest.mark.parametrize("fault", OUTPUTS)
def test_outputs_that_cannot_be_written(tmp_path, fault):
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "file.txt").write_text("precious")
    name, code, words = OUTPUTS[fault]
    before = state(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        save_mask(np.ones((4, 20, 20), bool), Volume(noisy(), EYE), tmp_path / name)
    assert caught.value.code == code
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        (np.ones((4, 20, 21), bool), "volume.shape"),
        (np.ones((4, 20, 20), np.float32), "volume.dtype"),
        (np.full((4, 20, 20), 2**40), "volume.dtype"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, mask, code):
    with pytest.raises(InputError) as caught:
        save_mask(mask, Volume(noisy(), EYE), tmp_path / "mask.nii.gz")
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())
