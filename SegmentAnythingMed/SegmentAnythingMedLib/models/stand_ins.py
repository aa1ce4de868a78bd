"""Stand-ins for what training programs save beside the weights, so that such files can be read without their classes.

SAM-Med2D's trainer, for one, saves the weights together with the optimiser *object*; that of MedicoSAM and micro-sam
adds its data sets. PyTorch's weights-only reader refuses any class that it does not know. For the names below it is
given something that does nothing in place of what is named: nothing of them is imported, made or called. All other
names stay refused.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

NAMES = (
    "torch.optim.adam.Adam",
    "torch.optim.adamw.AdamW",
    "torch.optim.sgd.SGD",
    "argparse.Namespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "functools.partial",
    "builtins.dict",
    "builtins.slice",
    "_codecs.encode",
)
PACKAGES = ("torch_em", "micro_sam", "medico_sam", "numpy")
"""Of training programs: every name in them is read as :class:`Nothing`."""

_ONE_AT_A_TIME = threading.Lock()


class Nothing:
    """Takes everything, keeps nothing, does nothing."""

    def __new__(cls, *_args: Any, **_options: Any) -> Nothing:  # noqa: D102
        return super().__new__(cls)

    def __setstate__(self, _state: Any) -> None:
        return None


def empty_dict(*_args: Any) -> dict[Any, Any]:
    """Stands for ``collections.defaultdict``: the reader fills plain dictionaries only."""
    return {}


@contextmanager
def stand_ins(path: Path) -> Iterator[None]:
    """Context in which ``torch.load(path, weights_only=True)`` reads the names above as :class:`Nothing`.

    PyTorch keeps its list for the whole process, so one thread at a time.
    """
    pairs = [(Nothing, name) for name in (*NAMES, *_package_names(path))]
    with _ONE_AT_A_TIME, torch.serialization.safe_globals([*pairs, (empty_dict, "collections.defaultdict")]):
        yield


def _package_names(path: Path) -> list[str]:
    """Names in :data:`PACKAGES` that a file mentions; read from its code without running it."""
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, OSError, EOFError, IndexError, KeyError, pickle.UnpicklingError):
        return []  # not a zip archive, or damaged: reading it will tell
    return [name for name in named if name.split(".")[0] in PACKAGES]
