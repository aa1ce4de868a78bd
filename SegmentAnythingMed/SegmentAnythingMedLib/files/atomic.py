"""Files appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; move it to ``path`` when the block ends without an error.

    The file is flushed to the disk before it is moved. On any error the temporary file is removed and an existing file
    at ``path`` is what it was.

    Args:
        path: where the file shall be; its folder must exist.
        suffix: how the temporary name must end for the writer to know the format; default: the end of ``path``.

    Raises:
        InputError: ``output.folder`` when the folder is missing, ``output.not_a_file`` when ``path`` is a folder,
            ``output.not_writable`` when the system refuses (rights, full disk).
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError("output.folder", f"The folder for {target.name} does not exist; create it first.")
    if target.is_dir():
        raise InputError("output.not_a_file", f"Expected a file name to write to, {target.name} is a folder.")
    ending = "".join(target.suffixes[-2:]) if suffix is None else suffix
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp{ending}"
    try:
        yield temporary
        put_in_place(temporary, target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("output.not_writable", f"Cannot write {target.name}: {reason}.") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def put_in_place(temporary: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Flush a finished file to the disk, then give it its name; whatever had that name before is replaced.

    Raises:
        OSError: when the system refuses; ``target`` is then what it was.
    """
    _flush(Path(temporary))
    os.replace(temporary, target)
    _flush_folder(Path(target).parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically; errors as :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _flush(path: Path) -> None:
    # opened for writing: Windows cannot flush a file that is open for reading
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name itself durable where the system can (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
