"""NRRD and MetaImage headers: what must be known before a toolkit opens them.

Such a header may name other files that hold its voxels. They must lie in the header's own folder: a header from a
stranger must not make us read ``/etc/passwd``. The headers also say things that ITK repairs silently (a NaN spacing
becomes 1) or reads as channels (a time series).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

_LONGEST_HEADER = 1 << 20
_SERIES_KINDS = {"list", "time"}


@dataclass(frozen=True)
class TextHeader:
    """What a text header says about its voxels.

    Attributes:
        files: the files that hold the voxels; the header's own when they are attached.
        compressed: True if deflated, False if raw, None for other encodings.
    """

    files: tuple[Path, ...]
    compressed: bool | None

    @property
    def stored_bytes(self) -> int | None:
        """Upper bound of the bytes that hold voxels; None when the encoding gives no bound."""
        return None if self.compressed is None else sum(file.stat().st_size for file in self.files)


def inspect_nrrd(path: Path) -> TextHeader:
    """Check a ``.nrrd`` or ``.nhdr`` header.

    Raises:
        InputError: ``input.unreadable`` when it is no NRRD; ``input.detached_outside`` for voxels in another folder;
            ``input.missing`` when the voxel file is not there; ``input.four_d`` for a series of images;
            ``volume.geometry`` for spacings that are not numbers above zero.
    """
    lines = _header_lines(path, "NRRD")
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kinds = fields.get("kinds", "").lower().split()
    sizes = fields.get("sizes", "").split()
    for kind, size in zip(kinds, sizes, strict=False):
        if kind in _SERIES_KINDS and size != "1":
            raise InputError(
                "input.four_d",
                f"{path.name}: expected one 3-D image, got a series of {size}; save the wanted one as a 3-D file.",
            )
    if not kinds or len(kinds) == 3:
        for text in fields.get("spacings", "").split():
            _check_spacing(text, path.name)
    compressed = {"raw": False, "gzip": True, "gz": True}.get(fields.get("encoding", "").lower())
    data = fields.get("data file", fields.get("datafile"))
    return TextHeader(_data_files(path, data, lines), compressed)


def inspect_metaimage(path: Path) -> TextHeader:
    """Check a ``.mha`` or ``.mhd`` header; errors as :func:`inspect_nrrd`."""
    lines = _header_lines(path, "ObjectType", "NDims", "Comment", "ID")
    # MetaIO takes a colon for an equals sign too
    pairs = [[part.strip() for part in re.split("[=:]", line, maxsplit=1)] for line in lines]
    fields = {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}
    for text in fields.get("elementspacing", "").split():
        _check_spacing(text, path.name)
    data = fields.get("elementdatafile", "LOCAL")
    compressed = fields.get("compresseddata", "False").lower() == "true"
    return TextHeader(_data_files(path, None if data.upper() == "LOCAL" else data, lines), compressed)


def _header_lines(path: Path, *beginnings: str) -> list[str]:
    """Lines up to the voxels: a blank line (NRRD) or the line that names the data file (MetaImage, last but lists)."""
    with open(path, "rb") as file:
        head = file.read(_LONGEST_HEADER)
    if not head.startswith(tuple(word.encode() for word in beginnings)):
        raise InputError(
            "input.unreadable", f"{path.name}: expected a header that begins with {beginnings[0]}, found other content."
        )
    lines: list[str] = []
    for raw in head.split(b"\n"):
        line = raw.decode("latin-1").strip()
        if not line and beginnings[0] == "NRRD":
            break
        lines.append(line)
        if re.match(r"elementdatafile\s*[=:]\s*local", line, re.IGNORECASE):
            break
    return lines


def _check_spacing(text: str, name: str) -> None:
    try:
        spacing = float(text)
    except ValueError:
        spacing = math.nan
    if not (math.isfinite(spacing) and spacing > 0):
        raise InputError(
            "volume.geometry", f"{name}: expected voxel spacings above zero, the header says {text}; repair the header."
        )


def _data_files(path: Path, data: str | None, lines: list[str]) -> tuple[Path, ...]:
    if data is None:
        return (path,)
    if data.upper().startswith("LIST"):
        start = next(n for n, line in enumerate(lines) if "LIST" in line.upper())
        names = [line for line in lines[start + 1 :] if line]
    elif "%" in data:
        # a numbered series: NAME%03d.raw FIRST LAST STEP; the folder part is what matters here
        return _inside(path, data.split()[0], must_exist=False)
    else:
        names = [data]
    return tuple(file for name in names for file in _inside(path, name, must_exist=True))


def _inside(path: Path, name: str, must_exist: bool) -> tuple[Path, ...]:
    folder = path.parent.resolve()
    if "\0" in name:
        raise InputError("input.unreadable", f"{path.name}: the name of its voxel file is damaged; export it again.")
    file = (folder / name).resolve()
    if not file.is_relative_to(folder):
        raise InputError(
            "input.detached_outside",
            f"{path.name}: its voxels are said to be in another folder, which is refused; put both files together.",
        )
    if not must_exist:
        return ()
    if not file.is_file():
        raise InputError("input.missing", f"{path.name}: the file {file.name} that holds its voxels was not found.")
    return (file,)
