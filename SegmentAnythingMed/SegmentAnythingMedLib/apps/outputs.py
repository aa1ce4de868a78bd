"""The files of a job appear together at its end, or not at all.

Everything that can be known before the work starts is checked then. At the end every file is written beside its place
under a hidden name; only when all are complete are they moved, and a move that fails takes back those before it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files.images import check_writable, image_suffix

Writer = Callable[[Path], None]


@dataclass(frozen=True)
class Outputs:
    """Where the results of a segmentation go.

    Attributes:
        mask: image file of labels or None.
        report: ``.json`` file or None.
        figure: ``.png`` file or None.
        rtstruct: ``.dcm`` file or None.
        seg: ``.dcm`` file or None.
        transform: ``.tfm`` or ``.h5`` file or None.
    """

    mask: Path | None
    report: Path | None = None
    figure: Path | None = None
    rtstruct: Path | None = None
    seg: Path | None = None
    transform: Path | None = None

    @property
    def named(self) -> dict[str, Path]:
        """Kind -> file, of all that will be written."""
        return {kind: path for kind, path in vars(self).items() if path is not None}

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that will be written."""
        return tuple(self.named.values())

    def check(self, inputs: Sequence[Path] = ()) -> None:
        """Refuse, before any work, what could not be written at the end or would overwrite an input.

        Raises:
            InputError: ``output.format``, ``output.folder``, ``output.not_a_file``, ``output.not_writable``,
                ``output.same`` (two results in one file), ``output.is_input``.
        """
        if self.mask is not None:
            check_writable(self.mask)
        for path, suffix in (
            (self.report, ".json"), (self.figure, ".png"), (self.rtstruct, ".dcm"), (self.seg, ".dcm"),
        ):  # fmt: skip
            if path is not None:
                _check_name(path, suffix)
        seen: list[Path] = []
        for path in self.paths:
            if any(_same_file(path, other) for other in seen):
                raise InputError("output.same", f"Expected a file of its own for each result; got {path.name} twice.")
            if any(_same_file(path, other) for other in inputs):
                raise InputError("output.is_input", f"{path.name} is an input of this job; choose another output.")
            seen.append(path)
        for folder in {path.parent.resolve(): path for path in self.paths}.values():
            _check_folder(folder)


def _check_name(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise InputError("output.format", f"Expected a name ending in {suffix}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError("output.folder", f"The folder for {path.name} does not exist; create it first.")
    if path.is_dir():
        raise InputError("output.not_a_file", f"Expected a file name to write to, {path.name} is a folder.")


def _same_file(first: Path, second: Path) -> bool:
    with suppress(OSError):
        if os.path.samefile(first, second):
            return True
    return os.path.normcase(first.resolve()) == os.path.normcase(second.resolve())


def _check_folder(path: Path) -> None:
    """Try it: rights, quotas and read-only file systems tell in no other way."""
    probe = _beside(path)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise InputError(
            "output.not_writable", f"Cannot write {path.name}: its folder refuses new files ({error.strerror})."
        ) from None


def _beside(path: Path, kind: str = "new") -> Path:
    ending = image_suffix(path) or path.suffix
    return path.parent / f".{secrets.token_hex(8)}.{kind}{ending}"


def write_together(files: Sequence[tuple[Path, Writer]]) -> None:
    """Write several files so that either all of them are there afterwards or nothing has changed.

    Args:
        files: where, and who writes to the (hidden) path that it is given, in the same folder and of the same ending.

    Raises:
        InputError: ``output.not_writable``; what the writers raise.
    """
    hidden: list[tuple[Path, Path]] = []
    try:
        for target, write in files:
            temporary = _beside(target)
            hidden.append((temporary, target))
            with _as_input_error(target):
                write(temporary)
        _move_together(hidden)
    finally:
        for temporary, _ in hidden:
            with suppress(OSError):
                temporary.unlink()


def _move_together(files: Sequence[tuple[Path, Path]]) -> None:
    kept: list[tuple[Path, Path | None]] = []
    complete = False
    try:
        for temporary, target in files:
            with _as_input_error(target):
                backup = _beside(target, "old") if target.exists() else None
                if backup is not None:
                    _keep_copy(target, backup)
                kept.append((target, backup))
                os.replace(temporary, target)
        complete = True
    finally:
        for target, backup in reversed(kept):
            if not complete:
                _take_back(target, backup)
            if backup is not None:  # still there when it and the target were one file: POSIX then renames nothing
                with suppress(OSError):
                    backup.unlink()


def _keep_copy(target: Path, backup: Path) -> None:
    """A second name for what is there, so that ``target`` itself is never missing; a copy where links are not known."""
    try:
        os.link(target, backup)
    except OSError:
        shutil.copy2(target, backup)


def _take_back(target: Path, backup: Path | None) -> None:
    with suppress(OSError):
        if backup is not None:
            os.replace(backup, target)
        else:
            target.unlink()


@contextmanager
def _as_input_error(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("output.not_writable", f"Cannot write {target.name}: {reason}.") from error
