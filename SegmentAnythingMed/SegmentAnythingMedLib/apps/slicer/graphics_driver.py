"""Keeps the compiler Triton out of a process whose graphics driver has brought its own LLVM.

Mesa draws with LLVM: software OpenGL (llvmpipe, on remote desktops and in containers) and some AMD cards. Triton, which
``torchvision`` and parts of torch import where it is installed, brings another LLVM with the same symbols. Imported
after the first picture was drawn it ends the process with a segmentation fault; before it, both get along. Nothing here
needs Triton: it serves ``torch.compile``, which this program does not use.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

_LOADED = Path("/proc/self/maps")
_DRIVERS_COMPILER = "/libLLVM"
_LOG = logging.getLogger("SegmentAnythingMed")


def keep_triton_out() -> bool:
    """From here on an import of Triton fails as if it were not installed, where it would end the process.

    Call it before torch or torchvision is imported.

    Returns:
        True when it is kept out; False where there is no danger: other systems, other drivers, or it is there already.
    """
    if sys.modules.get("triton") is not None or not _driver_has_llvm():
        return False
    if "triton" not in sys.modules:
        sys.modules["triton"] = None  # what Python itself does for a module that must not be imported
        _LOG.warning(
            "The graphics driver of this session uses LLVM; Triton (torch.compile) is not available until 3D Slicer is "
            "restarted, because importing it would end the program."
        )
    return True


def _driver_has_llvm() -> bool:
    """True if the process has mapped the LLVM library of the system; False where that cannot be known."""
    try:
        with open(_LOADED, encoding="utf-8", errors="replace") as lines:
            return any(_DRIVERS_COMPILER in line for line in lines)
    except OSError:
        return False
