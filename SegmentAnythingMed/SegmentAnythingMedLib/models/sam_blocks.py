"""Two building blocks of segment-anything's decoder, without importing the package as a whole.

The package imports its automatic mask generator, and with it torchvision and a compiler: three to five seconds that a
user of the built-in model would wait before the first mask, for nothing.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ModelError

_ALIAS = f"{__name__}_of_segment_anything"


@cache
def decoder_blocks() -> tuple[Any, Any]:
    """Classes ``MLP`` and ``TwoWayTransformer`` of segment-anything.

    The files of its sub-package ``modeling`` are loaded under a name of our own; the package itself stays unimported,
    and as it is for those who import it.

    Raises:
        ModelError: ``model.segment_anything`` when the package is not installed.
    """
    found = find_spec("segment_anything")
    if found is None:
        raise ModelError(
            "model.segment_anything", "Expected the Python package segment-anything to be installed; it is not."
        )
    package = ModuleType(_ALIAS, "segment_anything.modeling without segment_anything/__init__.py")
    package.__path__ = [str(Path(found.submodule_search_locations[0]) / "modeling")]
    sys.modules[_ALIAS] = package
    return import_module(f"{_ALIAS}.mask_decoder").MLP, import_module(f"{_ALIAS}.transformer").TwoWayTransformer
