"""What to say when a package cannot be imported: which one, why, and whether there are two of it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from ..errors import ModelError

_NAMES = {"torch": "PyTorch", "segment_anything": "segment-anything"}


def broken_package(error: BaseException) -> ModelError | None:
    """An error of the library for an import that failed; None if the error is about something else.

    A broken PyTorch raises ``ImportError`` (undefined symbols) or ``OSError`` (libraries that are missing or of another
    version) from within its own ``__init__``.

    Args:
        error: with its traceback.

    Returns:
        ``model.package``, with the cause.
    """
    package = _raised_by(error)
    if isinstance(error, ImportError):
        package = package or (error.name or "a Python package").partition(".")[0]
    if package is None:
        return None
    cause = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    places = [place for place in dict.fromkeys(sys.path) if (Path(place) / package / "__init__.py").is_file()]
    two = f" It is installed {len(places)} times, in {' and '.join(places)}; keep one." if len(places) > 1 else ""
    return ModelError(
        "model.package",
        f"{_NAMES.get(package, package)} cannot be imported ({cause}).{two} Nothing was done; install it again "
        f"(python -m pip install --force-reinstall {package.replace('_', '-')}) for this Python, {sys.executable}.",
    )


def _raised_by(error: BaseException) -> str | None:
    """Which of the packages was being imported when the error came."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        folder = Path(frame.filename).parent
        if Path(frame.filename).name == "__init__.py" and folder.name in _NAMES:
            return folder.name
    return None
