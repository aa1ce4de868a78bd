"""Checkpoints on this machine: brought in from a file, checked again, removed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DownloadError, InputError, ModelError
from ..files.atomic import put_in_place, write_bytes
from ..files.fetch import discard
from ..progress import Progress
from .downloads import Fetched, check_whole, folder_error, locked, part_of
from .entries import (
    REGISTERED,
    UNKNOWN,
    CatalogEntry,
    all_entries,
    catalogue,
    check_file_name,
    check_name,
    find_entry,
    model_folder,
    need_entry,
)
from .records import expected_sha256, known_files, make_record, read_record, write_record
from .weight_files import file_sha256, read_sidecar

_BLOCK = 1 << 20


def import_model(
    file: str | os.PathLike[str],
    name: str | None = None,
    *,
    facts: dict[str, str] | None = None,
    link: bool = False,
    accept_change: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Take a checkpoint file of the user's into the folder of models; the file itself is left as it is.

    It is recognised by its hash. A file that no known hash fits needs a ``name``: one of the catalogue that has no
    published hash, or a new one together with the ``family`` (from ``facts`` or from the sidecar ``<file>.json``); that
    registers another checkpoint, which ``load_model`` then opens by this name.

    Args:
        file: safetensors or PyTorch file.
        name: what it is, or None to tell by its hash or its sidecar.
        facts: for a new name: ``family``, ``variant``, ``preprocessing``, ``image_size``, ``licence``, ``source``,
            ``url``, ``description``, ``citation``; all texts.
        link: make a hard link (or a symbolic one) in place of a copy.
        accept_change: take another file than the one first seen under this name.
        progress: in bytes; may cancel, nothing is left then.

    Raises:
        InputError: ``input.missing``, ``input.unreadable``.
        ModelError: ``model.unrecognised``, ``model.name``, ``model.file_name``, ``model.name_taken`` (another file has
            its place), ``model.shipped``, ``checkpoint.sha256``, ``checkpoint.*`` of a file that holds no weights.
        DownloadError: ``download.folder``, ``download.disk_full``.
        Cancelled: see ``progress``.
    """
    source, progress = Path(file).expanduser(), progress or Progress()
    if not source.is_file():
        raise InputError("input.missing", f"{source} is not a file; give the path of a weights file.")
    check_whole(source)
    progress.start(f"Checking {source.name}", source.stat().st_size, unit="B")
    try:
        sha256 = file_sha256(source, progress)
    except OSError as error:
        raise InputError("input.unreadable", f"{source} cannot be read: {error.strerror}.") from None
    sidecar = read_sidecar(source)
    if sidecar.get("sha256", sha256).lower() != sha256:
        raise _other_file(source.name, sidecar["sha256"], sha256, "its sidecar")
    entry, registration = _recognise(source, sha256, name, {**sidecar, **(facts or {})})
    expected = expected_sha256(entry)
    if expected and expected != sha256 and sha256 not in entry.also_seen and not (accept_change and not entry.sha256):
        raise _other_file(source.name, expected, sha256, entry.name)
    with locked(entry.name, progress):
        return _put(source, sha256, entry, registration, link, progress)


def _recognise(
    source: Path, sha256: str, name: str | None, facts: dict[str, str]
) -> tuple[CatalogEntry, dict[str, str] | None]:
    """What a file is, and what to write beside it when it is new."""
    wish = check_name(name.strip().lower()) if name else None
    known = known_files().get(sha256)
    if known and wish in (None, known["name"]):
        return need_entry(known["name"]), None
    if known and find_entry(known["name"]) in catalogue():
        raise ModelError("model.name_taken", f"{source.name} is the file of {known['name']}, not of {wish}.")
    family = facts.get("family") or facts.get("preprocessing")
    wish = wish or facts.get("name") or (source.stem.lower() if family else None)
    entry = find_entry(wish) if wish else None
    if entry is not None and entry.file_name is None:
        raise ModelError("model.shipped", f"{entry.name} comes with the package; choose another name.")
    if entry is not None:
        return entry, None
    if not wish or not family:
        same = [entry.name for entry in all_entries() if entry.file_name == source.name]
        hint = f" Its file name is that of {same[0]}: if it is that model, give --as {same[0]}." if same else ""
        raise ModelError(
            "model.unrecognised",
            f"{source.name} is none of the known files (SHA-256 {sha256}).{hint} Say what it is: --as NAME for a model "
            "of the list, or --as NAME --family FAMILY for another one.",
        )
    registration = {key: value for key, value in facts.items() if value}
    registration |= {"name": check_name(wish), "family": family, "sha256": sha256}
    file_name = check_file_name(source.name)
    new = CatalogEntry(
        wish, family, facts.get("variant", UNKNOWN), facts.get("licence", UNKNOWN), file_name,
        REGISTERED, file_name=file_name, sha256=sha256, registered=True,
    )  # fmt: skip
    if any(entry.file_name == file_name for entry in all_entries()):
        raise ModelError("model.name_taken", f"Another model has the file name {file_name}; rename the file.")
    return new, registration


def _put(
    source: Path, sha256: str, entry: CatalogEntry, registration: dict[str, str] | None, link: bool, progress: Progress
) -> Fetched:
    target, part = model_folder() / str(entry.file_name), part_of(entry)
    if target.exists() and not (target.is_file() and file_sha256(target) == sha256):
        raise ModelError(
            "model.name_taken",
            f"{target} is there already, with other content. It was left as it is; remove or rename it first.",
        )
    try:
        fresh = not target.exists()
        if fresh:
            discard(part)
            linked = link and _link(source, target)
            if not linked:
                _copy(source, part, sha256, progress)
                put_in_place(part, target)
            write_record(make_record(entry, target, sha256, "import", linked))
        if registration is not None:
            write_bytes(Path(f"{target}.json"), json.dumps(registration, indent=2, ensure_ascii=False).encode())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            raise DownloadError("download.disk_full", f"The disk is full; {source.name} was not taken in.") from None
        raise folder_error(error) from None
    finally:
        discard(part)
    record = read_record(entry.name)
    return Fetched(entry.name, target, sha256, record.policy if record else "published", fresh)


def _copy(source: Path, part: Path, sha256: str, progress: Progress) -> None:
    progress.start(f"Copying {source.name}", source.stat().st_size, unit="B")
    with open(source, "rb") as taken, open(part, "wb") as given:
        while block := taken.read(_BLOCK):
            progress.check()
            given.write(block)
            progress.advance(len(block))
    found = file_sha256(part)
    if found != sha256:
        raise _other_file(source.name, sha256, found, "a moment ago")


def _link(source: Path, target: Path) -> bool:
    """Link to the user's file; False where the system makes no links."""
    for make in (os.link, os.symlink):
        try:
            make(source.resolve(), target)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EROFS, errno.EEXIST):
                raise
            continue
        return True
    return False


def _other_file(file_name: str, expected: str, found: str, whose: str) -> ModelError:
    return ModelError(
        "checkpoint.sha256",
        f"{file_name} is another file than that of {whose}: SHA-256 should be {expected}, is {found}; not taken.",
    )


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify_models` found about one file.

    Attributes:
        name: of the model.
        path: of its file.
        state: ``ok``, ``changed``, ``missing`` (it was installed, but is gone) or ``unverified`` (no hash is known).
        expected: SHA-256 that it should have, or None.
        found: SHA-256 that it has, or None.
    """

    name: str
    path: Path
    state: str
    expected: str | None
    found: str | None


def verify_models(names: Sequence[str] = (), progress: Progress | None = None) -> list[Verdict]:
    """Read the files of models again and compare their hashes; nothing is changed.

    Args:
        names: of models; all that are on this machine when empty.
        progress: in bytes; may cancel.

    Raises:
        ModelError: ``model.unknown``.
        Cancelled: see ``progress``.
    """
    progress = progress or Progress()
    wanted = [need_entry(name) for name in names] or all_entries()
    verdicts = []
    for entry in wanted:
        path, record = entry.path, read_record(entry.name)
        if path is None:
            continue
        expected = expected_sha256(entry)
        if not path.is_file():
            if names or (record is not None and record.installed):
                verdicts.append(Verdict(entry.name, path, "missing", expected, None))
            continue
        progress.start(f"Checking {path.name}", path.stat().st_size, unit="B")
        found = file_sha256(path, progress)
        right = found in (expected, *entry.also_seen)
        state = "ok" if right else "unverified" if expected is None else "changed"
        verdicts.append(Verdict(entry.name, path, state, expected, found))
    return verdicts


def remove_model(name: str, progress: Progress | None = None) -> Path:
    """Remove the checkpoint of a model that ``download_model`` or ``import_model`` put there; gives its path.

    An unfinished download is removed too. A registration goes with its file. Hashes are remembered.

    Raises:
        ModelError: ``model.unknown``, ``model.shipped``, ``model.not_ours`` (put there by hand, or changed since),
            ``checkpoint.missing``.
        DownloadError: ``download.folder``.
    """
    entry = need_entry(name)
    if entry.path is None:
        raise ModelError("model.shipped", f"{entry.name} is part of the package and stays.")
    with locked(entry.name, progress or Progress()):
        path, record, part = entry.path, read_record(entry.name), part_of(entry)
        unfinished = part.exists()
        there = path.is_file() or path.is_symlink()
        if there and not (record and record.installed and (record.untouched or _same(path, record.sha256))):
            raise ModelError(
                "model.not_ours",
                f"{path} was not put there by this program, or was changed since; it was left. Delete it yourself.",
            )
        if not there and not unfinished:
            raise ModelError("checkpoint.missing", f"There is no file of {entry.name} in {model_folder()}.")
        try:
            discard(part)
            if there:
                path.unlink()
            if entry.registered:
                Path(f"{path}.json").unlink(missing_ok=True)
            if record is not None:
                write_record(replace(record, installed=False))
        except OSError as error:
            raise folder_error(error) from None
    return path


def _same(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256
