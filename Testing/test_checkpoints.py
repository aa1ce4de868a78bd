from __future__ import annotations

import argparse
import collections
import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models import checkpoints
from SegmentAnythingMedLib.models.checkpoints import file_sha256, load_strictly, read_checkpoint, unwrap
from tiny_sam import save_stock_sam, stock_sam

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Evil:
    """Unpickling this writes a file, if it is allowed to run."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self):
        return (Path.write_text, (Path(self.target), "executed"))


def torch_file(folder: Path, content=TENSORS, **options) -> Path:
    torch.save(content, folder / "weights.pth", **options)
    return folder / "weights.pth"


def refused(path: Path, code: str, words: str, **options) -> None:
    """Reading ``path`` raises ``code`` with ``words``, naming the file, and changes nothing on disk."""
    before = {item: item.read_bytes() for item in path.parent.iterdir() if item.is_file()}
    with pytest.raises(ModelError, match=words) as caught:
        read_checkpoint(path, **options)
    assert caught.value.code == code
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {item: item.read_bytes() for item in path.parent.iterdir() if item.is_file()} == before


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_reads_safe_files_whatever_their_name(tmp_path, kind):
    path = tmp_path / "weights.bin"
    if kind == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind == "zip")
    checkpoint = read_checkpoint(path)
    assert checkpoint.file_name == "weights.bin"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert checkpoint.sidecar == {}


BYTES = {
    "zero bytes": (b"", "checkpoint.empty", "zero bytes"),
    "web page": (b"\n <!DOCTYPE html><html>Sign in</html>", "checkpoint.html", "web page"),
    "web page after a byte order mark": (b"\xef\xbb\xbf<html><body>404</body>", "checkpoint.html", "web page"),
    "xml error of a store": (b'<?xml version="1.0"?><Error/>', "checkpoint.html", "web page"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid 1", "checkpoint.html", "pointer"),
    "noise": (bytes(range(7, 200)), "checkpoint.unreadable", "neither a safetensors nor a PyTorch file"),
    "text": (b"hello", "checkpoint.unreadable", "neither"),
    "safetensors header only": (b"\x40" + b"\0" * 7 + b'{"a":', "checkpoint.truncated", "damaged or incomplete"),
    "pickle cut at once": (b"\x80\x02", "checkpoint.truncated", "damaged or incomplete"),
    "zip cut at once": (b"PK\x03\x04" + b"\0" * 40, "checkpoint.truncated", "damaged or incomplete"),
}


@pytest.mark.parametrize("fault", BYTES)
def test_bytes_that_are_no_weights(tmp_path, fault):
    content, code, words = BYTES[fault]
    (tmp_path / "weights.pth").write_bytes(content)
    refused(tmp_path / "weights.pth", code, words)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(ModelError, match="not a file") as caught:
            read_checkpoint(path)
        assert caught.value.code == "checkpoint.missing"


@pytest.mark.parametrize("kind", ["safetensors", "zip"])
@pytest.mark.parametrize("share", [0.05, 0.6, 0.99])
def test_a_download_cut_short(tmp_path, kind, share):
    path = tmp_path / "weights.pth"
    tensors = {"a": torch.zeros(100, 100)}
    if kind == "zip":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * share)])
    refused(path, "checkpoint.truncated", "fetch it again")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_not_executed(tmp_path, zipped):
    trap = tmp_path / "trap"
    path = torch_file(tmp_path, {"a": torch.ones(1), "b": Evil(trap)}, _use_new_zipfile_serialization=zipped)
    refused(path, "checkpoint.unsafe", "holds more than numbers")
    assert not trap.exists()


@pytest.mark.parametrize("protocol", [2, pytest.param(4, marks=pytest.mark.filterwarnings("ignore:Detected pickle"))])
def test_a_plain_malicious_pickle_is_not_executed(tmp_path, protocol):
    trap, path = tmp_path / "trap", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"a": Evil(trap)}, protocol=protocol))
    refused(path, "checkpoint.unsafe", "holds more than numbers")
    assert not trap.exists()


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    refused(path, "checkpoint.unsafe", "would unpack to 10000000 bytes")


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cu124", "2.9.1", "2.9.0.dev20251101"])
def test_an_old_torch_reads_no_pickle(tmp_path, monkeypatch, version):
    path = torch_file(tmp_path)
    save_file(TENSORS, tmp_path / "weights.safetensors")

    def never(*args, **options):
        raise AssertionError("torch.load was called")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(torch, "__version__", version)
    refused(path, "checkpoint.unsafe_torch", r"needs PyTorch >= 2\.10.*upgrade PyTorch")
    assert read_checkpoint(tmp_path / "weights.safetensors").tensors.keys() == TENSORS.keys()


def test_no_second_try_without_the_guard(tmp_path, monkeypatch):
    calls = []

    def refuse(*args, **options):
        calls.append(options.get("weights_only"))
        raise pickle.UnpicklingError("weights only")

    monkeypatch.setattr(torch, "load", refuse)
    refused(torch_file(tmp_path), "checkpoint.unsafe", "not opened")
    assert calls == [True]


def test_content_that_is_not_named_tensors(tmp_path):
    refused(torch_file(tmp_path, [torch.ones(2)]), "checkpoint.unreadable", "holds a list")


def optimiser_after_a_step(kind):
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = kind([weight], lr=0.1)
    weight.sum().backward()
    optimiser.step()
    return optimiser


BESIDE = {
    "Adam": lambda: optimiser_after_a_step(torch.optim.Adam),
    "AdamW": lambda: optimiser_after_a_step(torch.optim.AdamW),
    "SGD": lambda: optimiser_after_a_step(torch.optim.SGD),
    "settings": lambda: argparse.Namespace(lr=1e-4, folder=Path("somewhere"), sizes={"a": 1}),
    "defaultdict": lambda: collections.defaultdict(dict, {"a": {"b": 1}}),
    "numpy number": lambda: np.float64(0.5),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", BESIDE)
def test_what_training_saves_beside_the_weights_is_read_as_nothing(tmp_path, monkeypatch, what, zipped):
    content = {"model": TENSORS, "epoch": 3, "beside": BESIDE[what]()}
    path = torch_file(tmp_path, content, _use_new_zipfile_serialization=zipped)

    def never(*args, **options):
        raise AssertionError("an object of the file was made")

    for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        monkeypatch.setattr(kind, "__setstate__", never)
    monkeypatch.setattr(argparse.Namespace, "__init__", never)
    before = torch.serialization.get_safe_globals()
    read = read_checkpoint(path).tensors
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
    assert set(torch.serialization.get_safe_globals()) == set(before), "the stand-ins are for this file only"


@pytest.mark.parametrize("where", ["beside", "inside an optimiser", "inside settings"])
def test_harmless_names_do_not_let_others_in(tmp_path, where):
    trap = tmp_path / "trap"
    carrier = Evil(trap)
    if where == "inside an optimiser":
        optimiser = optimiser_after_a_step(torch.optim.Adam)
        optimiser.param_groups[0]["evil"] = carrier
        carrier = optimiser
    elif where == "inside settings":
        carrier = argparse.Namespace(evil=carrier)
    path = torch_file(tmp_path, {"model": TENSORS, "optimizer": carrier})
    refused(path, "checkpoint.unsafe", "holds more than numbers")
    assert not trap.exists()


def test_functions_of_packages_that_are_read_as_nothing_do_not_run(tmp_path):
    trap = tmp_path / "trap.npy"

    class Sly:
        def __reduce__(self):
            return (np.save, (str(trap), np.float64(1)))

    assert read_checkpoint(torch_file(tmp_path, {"model": TENSORS, "metric": Sly()})).tensors.keys() == TENSORS.keys()
    assert not trap.exists()


def test_a_stand_in_never_stands_for_weights(tmp_path):
    refused(torch_file(tmp_path, argparse.Namespace(a=torch.ones(1))), "checkpoint.unreadable", "holds a Nothing")


def test_another_hash_is_refused(tmp_path):
    path = torch_file(tmp_path)
    refused(path, "checkpoint.sha256", "SHA-256 should be 00.*Fetch it again", expected_sha256="0" * 64)
    assert read_checkpoint(path, expected_sha256=file_sha256(path).upper()).tensors
    (tmp_path / "weights.pth.json").write_text(json.dumps({"sha256": "1" * 64}))
    refused(path, "checkpoint.sha256", "should be 11")


def test_sidecar_is_read(tmp_path):
    path = torch_file(tmp_path)
    content = {"family": "medsam", "licence": "CC-BY-4.0", "name": "", "comment": ["kept out"]}
    (tmp_path / "weights.pth.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert read_checkpoint(path).sidecar == {"family": "medsam", "licence": "CC-BY-4.0"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ("[]", "got a list"), ('{"family": 3}', "'family' is not a text"), (" " * 70000, "64 KiB")],
)
def test_bad_sidecars(tmp_path, text, words):
    path = torch_file(tmp_path)
    (tmp_path / "weights.pth.json").write_text(text)
    refused(path, "checkpoint.sidecar", words)


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"model": TENSORS, "optimizer": {"lr": 1}, "epoch": 3},
        {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}},
        {"model_state": {f"module.sam.{name}": tensor for name, tensor in TENSORS.items()}},
        {"model_state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in TENSORS.items()}},
        {**TENSORS, "epoch": 3},
    ],
)
def test_wrappers_and_prefixes_go(content):
    tensors, decoder = unwrap(content)
    assert tensors.keys() == TENSORS.keys()
    assert decoder == {}


def test_a_prefix_of_some_names_stays_and_a_decoder_is_kept_aside():
    content = {"model_state": {"sam.a": torch.ones(1), "b": torch.ones(1)}, "decoder_state": {"base": torch.ones(3)}}
    tensors, decoder = unwrap(content)
    assert set(tensors) == {"sam.a", "b"}
    assert set(decoder) == {"base"}


def test_mismatch_is_told_shortly_and_nothing_is_loaded():
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {"0.weight": torch.zeros(4, 3), "0.bias": torch.zeros(2), **{f"x{n}": torch.ones(1) for n in range(5)}}
    with pytest.raises(ModelError) as caught:
        load_strictly(network, tensors, "weights.pth")
    assert caught.value.code == "checkpoint.mismatch"
    text = str(caught.value)
    assert "2 missing (1.weight, 1.bias)" in text
    assert "5 unexpected (x0, x1, x2, …)" in text
    assert "1 of another shape (0.weight expected (2, 3), got (4, 3))" in text
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_half_precision_weights_are_loaded_as_float32():
    network = torch.nn.Linear(3, 2)
    load_strictly(network, {"weight": torch.full((2, 3), 0.5).half(), "bias": torch.ones(2).half()}, "weights.pth")
    assert network.weight.dtype is torch.float32
    assert network.weight[0, 0].item() == 0.5


def test_every_checkpoint_hint_survives_a_real_file(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"model": {f"module.{k}": v for k, v in stock_sam().state_dict().items()}, "epoch": 1}, path)
    wrapped, flat = read_checkpoint(path), read_checkpoint(save_stock_sam(tmp_path / "flat.pth"))
    assert wrapped.tensors.keys() == flat.tensors.keys()
    assert checkpoints.SAFE_TORCH == (2, 10)
