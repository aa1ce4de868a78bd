"""Licences of checkpoints: what must be accepted before a download, and what this user has accepted."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import DownloadError
from ..files.atomic import write_bytes
from .entries import CatalogEntry

SETTINGS_VARIABLE = "SEGMENT_ANYTHING_MED_SETTINGS"
COMMERCIAL_VARIABLE = "SEGMENT_ANYTHING_MED_COMMERCIAL"


def settings_folder() -> Path:
    """Folder of this user's settings: ``SEGMENT_ANYTHING_MED_SETTINGS``, else the system's place for settings."""
    chosen = os.environ.get(SETTINGS_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "segment-anything-med"


def licence_text(entry: CatalogEntry) -> str:
    """One or two sentences about what the weights may be used for."""
    kind = "not known" if entry.licence == "unknown" else entry.licence
    use = ", for research and education only" if entry.research_only else ""
    return f"The licence of {entry.name} is {kind}{use} ({entry.source}). {entry.note}".strip()


def is_accepted(entry: CatalogEntry) -> bool:
    """True when nothing needs to be accepted, or this user has accepted these very terms."""
    return entry.permissive or _read().get(entry.name, {}).get("terms") == _terms(entry)


def accept(entry: CatalogEntry) -> None:
    """Remember that this user accepts the licence; errors as of ``atomic_path``."""
    accepted = _read()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    accepted[entry.name] = {"terms": _terms(entry), "date": now}
    settings_folder().mkdir(parents=True, exist_ok=True)
    write_bytes(_path(), json.dumps(accepted, indent=2).encode("utf-8"))


def check_licence(entry: CatalogEntry) -> None:
    """Refuse a download whose licence was not accepted.

    Raises:
        DownloadError: ``licence.not_accepted``; ``licence.research_only`` with ``SEGMENT_ANYTHING_MED_COMMERCIAL`` set.
    """
    if entry.research_only and is_set(COMMERCIAL_VARIABLE):
        raise DownloadError(
            "licence.research_only",
            f"{licence_text(entry)} {COMMERCIAL_VARIABLE} is set, so it is not downloaded.",
        )
    if not is_accepted(entry):
        raise DownloadError(
            "licence.not_accepted",
            f"{licence_text(entry)} Nothing was downloaded; to accept it: "
            f"segment-anything-med models download {entry.name} --accept-licence.",
        )


def is_set(variable: str) -> bool:
    """True for a variable of the environment that says yes."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "no", "false", "off")


def _terms(entry: CatalogEntry) -> str:
    return entry.licence + (", research only" if entry.research_only else "")


def _path() -> Path:
    return settings_folder() / "licences.json"


def _read() -> dict[str, Any]:
    try:
        content = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {name: terms for name, terms in content.items() if isinstance(terms, dict)} if isinstance(content, dict) else {}
    )
