"""Models that can be opened by name: the catalogue that ships, and what users have registered in their folder.

The catalogue is ``catalog.json`` (its form: ``catalog.schema.json``). Anyone registers another checkpoint by a small
JSON file beside it in :func:`model_folder`, named ``<checkpoint>.json``, with at least ``family``.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .weight_files import read_sidecar

SHIPPED = Path(__file__).parent / "weights" / "built-in.safetensors"
"""Weights of the built-in model (``embedded.WEIGHTS``, which cannot be asked without torch)."""
FOLDER_VARIABLE = "SEGMENT_ANYTHING_MED_MODELS"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
UNKNOWN = "unknown"
REGISTERED = "Registered by the user."
PERMISSIVE = frozenset({"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0"})
"""Licences that ask for no more than their notice."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows, with any ending


@dataclass(frozen=True)
class CatalogEntry:
    """One model that can be opened by name.

    Attributes:
        name: what ``load_model`` takes.
        family: decides how images are prepared.
        variant: size within the family.
        licence: SPDX identifier of the weights, or ``unknown``.
        source: URL of the page that links the weights, or ``shipped``.
        description: one or two plain sentences.
        file_name: of the checkpoint in :func:`model_folder`; None for what is shipped.
        size_bytes: of that file, or None when it is not known.
        sha256: of that file, or None when none is known: then the first one seen is held to.
        parameters: number of weights, or None.
        research_only: True when the publisher forbids other use.
        urls: direct links to the file, tried in this order.
        sha256_from: ``publisher``, ``records`` (several public records agree), or None.
        also_seen: hashes by which the file is recognised, but which are not demanded.
        good_for, preprocessing, citation, note: for people.
        registered: True for an entry of a user's own; ``preprocessing`` is then the family whose way it is, or empty.
        image_size: of a registered entry, side of the network's input where it is not the family's, else None.
    """

    name: str
    family: str
    variant: str
    licence: str
    source: str
    description: str
    file_name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    parameters: int | None = None
    research_only: bool = False
    urls: tuple[str, ...] = ()
    sha256_from: str | None = None
    also_seen: tuple[str, ...] = ()
    good_for: str = ""
    preprocessing: str = ""
    citation: str = ""
    note: str = ""
    registered: bool = False
    image_size: str | None = None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> CatalogEntry:
        """Entry of the catalogue file."""
        lists = {key: tuple(content[key]) for key in ("urls", "also_seen") if key in content}
        return cls(**{**content, **lists})

    @property
    def path(self) -> Path | None:
        """Where the checkpoint is looked for; None for what is shipped."""
        return None if self.file_name is None else model_folder() / self.file_name

    @property
    def facts(self) -> dict[str, str]:
        """What :func:`~SegmentAnythingMedLib.models.families.identify` wants to know of a file of this entry."""
        facts = {"name": self.name, "family": self.family, "licence": self.licence, "source": self.source}
        if self.variant != UNKNOWN:
            facts["variant"] = self.variant
        if self.registered:
            facts |= {"preprocessing": self.preprocessing} if self.preprocessing else {}
            facts |= {"image_size": self.image_size} if self.image_size else {}
        return facts

    @property
    def available(self) -> bool:
        """True if the weights are on this machine (their hash is checked when they are opened)."""
        weights = self.path or SHIPPED
        return weights.is_file() and self.size_bytes in (None, weights.stat().st_size)

    @property
    def stored_bytes(self) -> int | None:
        """Size of the weights on this machine, else the published size, or None."""
        return (self.path or SHIPPED).stat().st_size if self.available else self.size_bytes

    @property
    def permissive(self) -> bool:
        """True when the licence asks for no more than its notice."""
        return self.licence in PERMISSIVE and not self.research_only


def model_folder() -> Path:
    """Folder of this user's checkpoints: ``SEGMENT_ANYTHING_MED_MODELS``, else the system's place for program data."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "segment-anything-med" / "models"


@cache
def catalogue() -> tuple[CatalogEntry, ...]:
    """Entries that ship, the built-in model first."""
    content = json.loads((Path(__file__).parent / "catalog.json").read_text(encoding="utf-8"))
    return tuple(CatalogEntry.from_json(entry) for entry in content["models"])


def registered() -> tuple[list[CatalogEntry], list[str]]:
    """Entries that the user registered, and one sentence for each registration that cannot be used."""
    entries: list[CatalogEntry] = []
    problems: list[str] = []
    published = {entry.file_name for entry in catalogue()}
    taken = {entry.name for entry in catalogue()}
    for sidecar in sorted(model_folder().glob("*.json")):
        file_name = sidecar.name[: -len(".json")]
        if file_name in published or not file_name.lower().endswith(SUFFIXES):
            continue
        try:
            entry = _registration(sidecar, file_name)
            if entry.name in taken:
                raise ModelError("model.name_taken", f"{sidecar.name} names itself {entry.name!r}, which is taken.")
        except ModelError as error:
            problems.append(str(error))
            continue
        taken.add(entry.name)
        entries.append(entry)
    return entries, problems


def _registration(sidecar: Path, file_name: str) -> CatalogEntry:
    facts = read_sidecar(sidecar.with_name(file_name))
    family = facts.get("family") or facts.get("preprocessing")
    if not family:
        raise ModelError("checkpoint.sidecar", f'{sidecar.name} must say the family, e.g. "family": "medsam".')
    check_file_name(file_name)
    url = facts.get("url")
    return CatalogEntry(
        name=check_name(facts.get("name") or file_name.rpartition(".")[0].lower()),
        family=family,
        variant=facts.get("variant", UNKNOWN),
        licence=facts.get("licence", UNKNOWN),
        source=facts.get("source") or file_name,
        description=facts.get("description", REGISTERED),
        file_name=file_name,
        sha256=facts["sha256"].lower() if "sha256" in facts else None,
        urls=(url,) if url else (),
        citation=facts.get("citation", ""),
        preprocessing=facts.get("preprocessing", ""),
        registered=True,
        image_size=facts.get("image_size"),
    )


def all_entries() -> list[CatalogEntry]:
    """Catalogue, then the user's own; what cannot be used is left out."""
    return [*catalogue(), *registered()[0]]


def find_entry(name: str) -> CatalogEntry | None:
    """Entry of that name (upper and lower case are the same), or None."""
    wish = name.strip().lower()
    return next((entry for entry in all_entries() if entry.name == wish), None)


def need_entry(name: str) -> CatalogEntry:
    """Entry of that name.

    Raises:
        ModelError: ``model.unknown`` with the nearest names.
    """
    entry = find_entry(name)
    if entry is None:
        raise ModelError("model.unknown", f"There is no model {name!r} ({nearest(name)}).")
    return entry


def nearest(wish: str, names: Iterable[str] | None = None) -> str:
    """``nearest: ...`` or ``known: ...`` for a name that does not exist."""
    known = [entry.name for entry in all_entries()] if names is None else list(names)
    near = difflib.get_close_matches(wish.lower(), known, n=3, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"


def check_name(name: str) -> str:
    """``name``, when a model may be called so.

    Raises:
        ModelError: ``model.name``.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ModelError(
            "model.name",
            f"Expected a name of lower-case letters, digits, '.', '_' and '-' (at most 64); got {name[:80]!r}.",
        )
    return name


def check_file_name(name: str) -> str:
    """``name``, when a file may be called so in the folder of models, on every system.

    Raises:
        ModelError: ``model.file_name``.
    """
    if not _FILE.fullmatch(name) or _RESERVED.fullmatch(name) or not name.lower().endswith(SUFFIXES):
        raise ModelError(
            "model.file_name",
            f"Expected a plain file name of letters, digits, '.', '_' and '-' that ends in {', '.join(SUFFIXES)}; "
            f"got {name[:120]!r}. Rename the file.",
        )
    return name
