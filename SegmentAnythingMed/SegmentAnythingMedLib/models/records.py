"""What is remembered about checkpoints on this machine, one small file per model: where from, when, which hash.

A published hash is always demanded. Where none is known, the first file seen under a name sets it: from then on another
file under that name is refused until the user says that the change is meant. The note outlives the removal of a file.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..files.atomic import write_bytes
from .entries import CatalogEntry, all_entries, model_folder

PUBLISHED, FIRST_SEEN = "published", "first-seen"
_FOLDER = ".records"


@dataclass(frozen=True)
class Record:
    """What is known about the checkpoint of one model.

    Attributes:
        name: of the model.
        file_name: in the folder of models.
        sha256: of the file.
        size_bytes: of the file.
        modified_ns: its time of change when it was put there.
        policy: ``published`` when a known hash was demanded, else ``first-seen``.
        origin: name of the server, or ``import``.
        date: when, UTC.
        installed: False once it was removed; the hash is remembered.
        linked: True when the file is a link to one of the user's own.
    """

    name: str
    file_name: str
    sha256: str
    size_bytes: int
    modified_ns: int
    policy: str
    origin: str
    date: str
    installed: bool = True
    linked: bool = False

    @property
    def untouched(self) -> bool:
        """True while size and time of the file are those that were noted."""
        with suppress(OSError):
            found = (model_folder() / self.file_name).stat()
            return (found.st_size, found.st_mtime_ns) == (self.size_bytes, self.modified_ns)
        return False


def make_record(entry: CatalogEntry, path: Path, sha256: str, origin: str, linked: bool = False) -> Record:
    """Record of a file that has just been put in place."""
    found = path.stat()
    policy = PUBLISHED if entry.sha256 else FIRST_SEEN
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Record(
        entry.name, path.name, sha256, found.st_size, found.st_mtime_ns, policy, origin, now, linked=linked
    )  # fmt: skip


def read_record(name: str) -> Record | None:
    """Record of a model; None when there is none, or none that can be read."""
    try:
        return Record(**json.loads(_path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(record: Record) -> None:
    """Remember; errors as :func:`~SegmentAnythingMedLib.files.atomic.atomic_path`."""
    path = _path(record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(asdict(record), indent=2).encode("utf-8"))


def expected_sha256(entry: CatalogEntry) -> str | None:
    """The hash that the file of an entry must have: the published one, else the one seen first, else None."""
    if entry.sha256:
        return entry.sha256
    record = read_record(entry.name)
    return record.sha256 if record else None


def known_files() -> dict[str, dict[str, str]]:
    """SHA-256 -> facts of the model whose file it is, published or seen here."""
    known: dict[str, dict[str, str]] = {}
    for entry in all_entries():
        record = read_record(entry.name)
        for sha256 in (entry.sha256, *entry.also_seen, record.sha256 if record else None):
            if sha256:
                known.setdefault(sha256, entry.facts)
    return known


def _path(name: str) -> Path:
    return model_folder() / _FOLDER / f"{name}.json"
