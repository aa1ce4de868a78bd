from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import jsonschema
import pytest
import SegmentAnythingMedLib
import torch
from SegmentAnythingMedLib.errors import DeviceError, ModelError
from SegmentAnythingMedLib.models import entries
from SegmentAnythingMedLib.models.catalog import list_models, load_model
from SegmentAnythingMedLib.models.checkpoints import file_sha256
from SegmentAnythingMedLib.models.entries import CatalogEntry, model_folder
from tiny_sam import save_stock_sam, stock_sam


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def tiny_entry(folder, monkeypatch) -> CatalogEntry:
    """A catalog with one small published model whose file is on this machine."""
    path = save_stock_sam(folder / "tiny.pth")
    entry = CatalogEntry(
        name="tiny",
        family="sam",
        variant="vit_64",
        licence="MIT",
        source="https://example.org/tiny.pth",
        description="A test.",
        file_name="tiny.pth",
        size_bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )
    monkeypatch.setattr(entries, "catalogue", lambda: (entry,))
    return entry


def test_entries_keep_to_the_schema():
    folder = Path(entries.__file__).parent
    schema = json.loads((folder / "catalog.schema.json").read_text(encoding="utf-8"))
    content = json.loads((folder / "catalog.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(content)] == []
    spoiled = json.loads(json.dumps(content))
    spoiled["models"][1]["urls"] = ["http://example.org/x.pth"]
    assert not validator.is_valid(spoiled)


def test_entries_are_complete(folder):
    listed = list_models()
    names = [entry.name for entry in listed]
    assert names[0] == "built-in"
    assert {
        "sam-vit-b", "sam-vit-l", "sam-vit-h", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large",
        "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large", "medsam", "medicosam", "medsam2",
        "medsam2-ct-lesion", "medsam2-mri-liver-lesion", "medsam2-us-heart", "sam-med2d", "mobile-sam", "lite-medsam",
    } <= set(names)  # fmt: skip
    assert len(set(names)) == len(names)
    files = [entry.file_name for entry in listed[1:]]
    assert len(set(files)) == len(files)
    hashes = [entry.sha256 for entry in listed if entry.sha256]
    assert len(set(hashes)) == len(hashes)
    for entry in listed[1:]:
        assert entries.check_name(entry.name) == entry.name
        assert entries.check_file_name(entry.file_name) == entry.file_name
        assert entry.good_for
        assert entry.citation


def test_the_documentation_lists_what_the_catalogue_holds(folder, repository):
    text = (repository / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")
    ]
    listed = {row[0]: row for row in rows if len(row) == 6}
    assert list(listed) == [entry.name for entry in list_models()[1:]]
    for entry in list_models()[1:]:
        _, file_name, size, licence, sha256, how = listed[entry.name]
        assert file_name == entry.file_name
        assert size == ("?" if entry.size_bytes is None else f"{entry.size_bytes / 1e6:.0f} MB")
        assert licence == entry.licence + (", research only" if entry.research_only else "")
        assert sha256 == (entry.sha256[:12] if entry.sha256 else "first seen")
        assert how == ("yes" if entry.urls else "browser")


def test_which_licences_need_to_be_accepted(folder):
    asked = {entry.name for entry in list_models() if not entry.permissive}
    assert asked == {"medicosam"} | {entry.name for entry in list_models() if entry.family == "medsam2"}


def test_listing_needs_no_torch():
    code = (
        "import sys; from SegmentAnythingMedLib.models.catalog import list_models; "
        "assert len(list_models()) > 3; assert 'torch' not in sys.modules"
    )
    package = Path(SegmentAnythingMedLib.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(package)})


def test_availability_follows_the_file(folder, tiny_entry):
    assert tiny_entry.available
    (folder / "tiny.pth").write_bytes(b"cut short")
    assert not tiny_entry.available
    (folder / "tiny.pth").unlink()
    assert not tiny_entry.available


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/segment-anything-med/models"),
        ("linux", {"XDG_DATA_HOME": ""}, ".local/share/segment-anything-med/models"),
        ("darwin", {}, "Library/Application Support/segment-anything-med/models"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/segment-anything-med/models"),
        ("win32", {"LOCALAPPDATA": ""}, "AppData/Local/segment-anything-med/models"),
    ],
)
def test_folder_of_each_system(monkeypatch, platform, variables, expected):
    monkeypatch.delenv(entries.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert model_folder().as_posix().endswith(expected)


def test_opens_a_catalog_entry(tiny_entry):
    model = load_model("Tiny", "cpu")
    assert (model.info.name, model.info.licence, model.info.source) == ("tiny", "MIT", tiny_entry.source)
    assert (model.info.family, model.info.variant, model.info.sha256) == ("sam", "vit_64", tiny_entry.sha256)
    assert (model.device, model.image_size, model.low_res_size, model.notes) == ("cpu", 128, 32, ())
    stock = stock_sam().state_dict()
    assert all(torch.equal(stock[name], tensor) for name, tensor in model._network.state_dict().items())


def test_a_published_file_is_known_by_its_hash_wherever_it_lies(tiny_entry, tmp_path):
    moved = tmp_path / "renamed.pt"
    tiny_entry.path.rename(moved)
    model = load_model(moved, "cpu")
    assert (model.info.name, model.info.family, model.info.licence) == ("tiny", "sam", "MIT")


def test_another_file_under_a_published_name_is_refused(folder, tiny_entry):
    save_stock_sam(folder / "tiny.pth", stock_sam(seed=1))
    with pytest.raises(ModelError, match="not the expected file") as caught:
        load_model("tiny", "cpu")
    assert caught.value.code == "checkpoint.sha256"


def test_sidecar_decides_the_family(tmp_path):
    path = save_stock_sam(tmp_path / "mine.pth")
    with pytest.raises(ModelError, match="128-pixel images") as caught:
        load_model(path, "cpu")
    assert caught.value.code == "checkpoint.ambiguous"
    (tmp_path / "mine.pth.json").write_text(json.dumps({"family": "medsam", "licence": "CC-BY-4.0", "name": "mine"}))
    info = load_model(path, "cpu").info
    assert (info.family, info.licence, info.name, info.source) == ("medsam", "CC-BY-4.0", "mine", "mine.pth")
    assert load_model(path, "cpu", family="sam").info.family == "sam"
    (tmp_path / "mine.pth.json").write_text(json.dumps({"preprocessing": "medsam"}))
    assert load_model(path, "cpu").info.family == "medsam"


def test_a_wrong_variant_is_told_by_a_short_diff(tmp_path):
    tensors = stock_sam().state_dict()
    del tensors["mask_decoder.iou_token.weight"]
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(ModelError, match=r"1 missing \(mask_decoder.iou_token.weight\)") as caught:
        load_model(tmp_path / "part.pth", "cpu", family="sam")
    assert caught.value.code == "checkpoint.mismatch"


def test_a_missing_checkpoint_says_which_file_from_where_to_where(folder):
    with pytest.raises(ModelError) as caught:
        load_model("sam-vit-b")
    assert caught.value.code == "checkpoint.missing"
    for words in (
        "segment-anything-med models download sam-vit-b", "sam_vit_b_01ec64.pth", str(folder),
        "https://dl.fbaipublicfiles.com/", "nothing is downloaded without being asked for",
    ):  # fmt: skip
        assert words in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", ["nowhere.pth", "some/folder/model", "x.safetensors"])
def test_a_missing_path(path):
    with pytest.raises(ModelError, match="is not a file") as caught:
        load_model(path, "cpu")
    assert caught.value.code == "checkpoint.missing"


@pytest.mark.parametrize(
    ("name", "words"),
    [("sam-vit-x", "nearest: sam-vit"), ("medsan", "nearest: medsam"), ("zzz", "known: built-in, sam-vit-b")],
)
def test_an_unknown_name_lists_the_nearest(name, words):
    with pytest.raises(ModelError, match=words) as caught:
        load_model(name)
    assert caught.value.code == "model.unknown"


def test_the_device_is_checked_before_weights_are_read(tiny_entry, monkeypatch):
    tiny_entry.path.write_bytes(b"broken")
    with pytest.raises(DeviceError):
        load_model("tiny", "abacus")


def test_the_built_in_model_is_the_default(monkeypatch):
    fake = types.ModuleType("embedded")
    fake.load_embedded = lambda device: ("built-in", device)
    monkeypatch.setitem(sys.modules, "SegmentAnythingMedLib.models.embedded", fake)
    assert load_model(device="cpu") == ("built-in", "cpu")
    assert load_model("BUILT-IN", "cpu") == ("built-in", "cpu")


def test_the_built_in_model_is_available_when_its_weights_are(monkeypatch, tmp_path):
    from SegmentAnythingMedLib.models import embedded

    assert entries.SHIPPED == embedded.WEIGHTS
    entry = list_models()[0]
    monkeypatch.setattr(entries, "SHIPPED", tmp_path / "none.safetensors")
    assert (entry.available, entry.stored_bytes) == (False, None)
    (tmp_path / "none.safetensors").write_bytes(b"12345")
    assert (entry.available, entry.stored_bytes) == (True, 5)


def save_built_in(path: Path, config: dict | None = None) -> Path:
    """Random weights of the built-in network, as the training script exports them."""
    from safetensors.torch import save_file
    from SegmentAnythingMedLib.models.hybrid import HybridConfig, HybridSam

    tensors = {name: value.contiguous() for name, value in HybridSam(HybridConfig()).state_dict().items()}
    tensors = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    save_file(tensors, path, metadata={"config": json.dumps(config or HybridConfig().as_dict())})
    return path


def test_weights_of_the_built_in_network_are_opened_by_path(tmp_path):
    path = save_built_in(tmp_path / "mine.safetensors")
    info = load_model(path, "cpu").info
    assert (info.name, info.family, info.source, info.sha256) == (
        "mine", "embedded", "mine.safetensors", file_sha256(path),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100_000]), "checkpoint.truncated"),
        (lambda path: save_built_in(path, {"colour": "blue"}), "checkpoint.mismatch"),
        (lambda path: save_built_in(path, {"embed_dim": 64}), "checkpoint.mismatch"),
        (lambda path: path.write_bytes(b"\xff" * 7 + b"\x00" + b"{"), "checkpoint.unreadable"),
    ],
)
def test_broken_weights_of_the_built_in_network(tmp_path, spoil, code):
    path = save_built_in(tmp_path / "mine.safetensors")
    spoil(path)
    with pytest.raises(ModelError) as caught:
        load_model(path, "cpu")
    assert caught.value.code == code
