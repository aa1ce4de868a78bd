"""Stand-ins for what training programs save beside the weights, so that such files can be read without their classes.

SAM-Med2D's trainer, for one, saves the weights together with the optimiser *object*. PyTorch's weights-only reader
refuses any class that it does not know. For the few names below it is given something that does nothing in place of
what is named: nothing that the file names is imported, made or called. All other names stay refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
    "builtins.dict",
    "_codecs.encode",
)


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
def stand_ins() -> Iterator[None]:
    """Context in which ``torch.load(weights_only=True)`` reads the names above as :class:`Nothing`.

    PyTorch keeps its list for the whole process, so one thread at a time.
    """
    pairs = [(Nothing, name) for name in NAMES]
    with _ONE_AT_A_TIME, torch.serialization.safe_globals([*pairs, (empty_dict, "collections.defaultdict")]):
        yield
