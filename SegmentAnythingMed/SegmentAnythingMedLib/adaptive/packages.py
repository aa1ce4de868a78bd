"""The two packages of the extra ``adaptive``, imported at first use."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from ..errors import InputError

_POT_SKIPS = ("POT_BACKEND_DISABLE_PYTORCH", "POT_BACKEND_DISABLE_TENSORFLOW", "POT_BACKEND_DISABLE_JAX")
"""POT would import whole frameworks to see whether it is handed their arrays; it gets numpy's only."""


def k_means_class() -> Any:
    """scikit-learn's ``KMeans``.

    Raises:
        InputError: ``adaptive.package``.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise _missing("scikit-learn") from None
    return KMeans


def forest_class() -> Any:
    """scikit-learn's ``ExtraTreesClassifier``.

    Raises:
        InputError: ``adaptive.package``.
    """
    try:
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError:
        raise _missing("scikit-learn") from None
    return ExtraTreesClassifier


def optimal_transport() -> ModuleType:
    """POT, the package ``ot``.

    Raises:
        InputError: ``adaptive.package``.
    """
    before = {name: os.environ.get(name) for name in _POT_SKIPS}
    os.environ.update({name: "1" for name in _POT_SKIPS if before[name] is None})
    try:
        import ot
    except ImportError:
        raise _missing("POT") from None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
    return ot


def _missing(package: str) -> InputError:
    return InputError(
        "adaptive.package",
        f"Methods that compare visits need the Python package {package}, which is not installed. "
        'Install the extra: pip install "segment-anything-med[adaptive]".',
    )
