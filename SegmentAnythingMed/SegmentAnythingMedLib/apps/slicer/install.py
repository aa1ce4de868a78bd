"""What 3D Slicer's Python needs for the first mask, installed with the user's consent just before it.

PyTorch comes through the extension PyTorch alone; the other packages through pip. Packages that Slicer brings are
pinned at the versions that are installed, so pip cannot replace them. Whatever fails, the scene and the rest of the
module stay as they were.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from . import install_words as words
from . import requirements
from .requirements import Requirement

REQUESTER = "SegmentAnythingMed"
OLDEST_SLICER = (5, 10)
TORCH = Requirement("torch", "2.10")
TORCHVISION = Requirement("torchvision", "0.25")
SAM2 = Requirement("sam2", "1.1", "2")
ADAPTIVE = (Requirement("scikit-learn", "1.5"), Requirement("POT", "0.9.5", "0.9.7"))
SAM2_FAMILIES = ("sam2", "medsam2")
SLICER_OWN = ("numpy", "scipy", "SimpleITK", "pydicom", "pillow", "requests", "vtk")
KEPT = (*SLICER_OWN, TORCH.name, TORCHVISION.name)


def ensure_ready() -> None:
    """Everything that the built-in model and models of the SAM family need. Call it in the main thread.

    Raises:
        InstallError: ``install.slicer`` (version too old), ``install.pytorch`` (no PyTorch, or none that fits),
            ``install.declined``, ``install.read_only``, ``install.failed``, ``install.testing``, ``install.thread``,
            ``install.replaced``.
    """
    check_slicer()
    ensure_torch()
    ensure_packages(requirements.read())


def ensure_sam2() -> None:
    """The package ``sam2``, for models of the SAM 2 family only and only when such a model is asked for.

    Raises:
        InstallError: as :func:`ensure_ready`.
    """
    ensure_ready()
    ensure_packages([SAM2])


def ensure_adaptive() -> None:
    """The packages that compare two visits, when a prior visit is asked for.

    Raises:
        InstallError: as :func:`ensure_ready`.
    """
    ensure_packages(ADAPTIVE)


def ensure_for(model_name: str) -> None:
    """Everything that a model of the catalogue, or a checkpoint, needs.

    Raises:
        InstallError: as :func:`ensure_ready`.
    """
    from ...models.entries import find_entry

    entry = find_entry(model_name)
    if entry is not None and entry.family in SAM2_FAMILIES:
        ensure_sam2()
    else:
        ensure_ready()


def check_slicer() -> None:
    """Refuse versions of Slicer that the module was not made for.

    Raises:
        InstallError: ``install.slicer``.
    """
    app = _app()
    version = OLDEST_SLICER if app is None else (int(app.majorVersion), int(app.minorVersion))
    if version < OLDEST_SLICER:
        raise words.too_old(version, OLDEST_SLICER)


def ensure_torch() -> None:
    """PyTorch and torchvision, through the extension PyTorch (module PyTorchUtils).

    Raises:
        InstallError: ``install.pytorch`` and as :func:`ensure_packages`.
    """
    wanted = (TORCH, TORCHVISION)
    if not requirements.missing(wanted):
        return
    _may_install(wanted)
    try:
        import PyTorchUtils
    except ImportError as error:
        raise words.no_pytorch_extension(wanted) from error
    logic = PyTorchUtils.PyTorchUtilsLogic()
    with _slicers_own_kept(), _failure_in_words(wanted):
        torch = logic.installTorch(askConfirmation=True, torchVersionRequirement=f">={TORCH.at_least}")
    if torch is None:
        raise words.declined(wanted)
    left = requirements.missing(wanted)
    if left:
        raise words.wrong_pytorch(left)


def ensure_packages(wanted: Sequence[Requirement]) -> None:
    """Install with pip what of ``wanted`` is missing, after asking once.

    Raises:
        InstallError: ``install.declined``, ``install.read_only``, ``install.failed``, ``install.testing``,
            ``install.thread``, ``install.replaced``.
    """
    missing = requirements.missing(wanted)
    if not missing:
        return
    _may_install(missing)
    with _slicers_own_kept(), _failure_in_words(missing), _pins() as constraints:
        agreed = _install(missing, constraints)
    if not agreed:
        raise words.declined(missing)
    left = requirements.missing(wanted)
    if left:
        raise words.failed(left, None)


def _install(missing: Sequence[Requirement], constraints: Path) -> bool:
    """Ask and install: through ``slicer.packaging`` from 5.12 on, by hand before; False when the user said no."""
    names = [str(requirement) for requirement in missing]
    try:
        from slicer import packaging
    except ImportError:  # before 5.12
        if not slicer.util.confirmOkCancelDisplay(words.question(missing), REQUESTER):
            return False
        slicer.util.pip_install(["--constraint", str(constraints), *names])
        return True
    try:
        packaging.pip_ensure(names, constraints=constraints, skip_packages=list(KEPT), requester=REQUESTER)
    except RuntimeError:  # that is how it tells that the user said no
        return False
    return True


@contextmanager
def _pins() -> Iterator[Path]:
    """A constraints file that holds Slicer's own packages, and PyTorch, at what is installed."""
    versions = {name: requirements.installed(name) for name in KEPT}
    with tempfile.TemporaryDirectory(prefix="segment-anything-med-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "constraints.txt"
        lines = [f"{name}=={version}" for name, version in versions.items() if version is not None]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield path


@contextmanager
def _slicers_own_kept() -> Iterator[None]:
    """Compare Slicer's own packages before and after, should an installer have ignored the pins.

    Raises:
        InstallError: ``install.replaced``.
    """
    before = {name: requirements.installed(name) for name in SLICER_OWN}
    yield
    importlib.invalidate_caches()
    after = {name: requirements.installed(name) for name in SLICER_OWN}
    changed = [f"{name} {before[name]} -> {after[name]}" for name in SLICER_OWN if before[name] != after[name]]
    if changed:
        raise words.replaced(changed)


@contextmanager
def _failure_in_words(wanted: Sequence[Requirement]) -> Iterator[None]:
    """A failing installer becomes a sentence; its own output is in Slicer's log.

    Raises:
        InstallError: ``install.failed``.
    """
    try:
        yield
    except (subprocess.CalledProcessError, OSError, ImportError, RuntimeError, ValueError) as error:
        raise words.failed(wanted, error) from error


def _may_install(wanted: Sequence[Requirement]) -> None:
    """Refuse where an installation cannot succeed or must not be tried.

    Raises:
        InstallError: ``install.testing``, ``install.thread``, ``install.read_only``.
    """
    if threading.current_thread() is not threading.main_thread():
        raise words.not_in_main_thread(wanted)
    app = _app()
    if app is None or app.testingEnabled():
        raise words.no_application(wanted)
    if not os.access(sysconfig.get_path("purelib"), os.W_OK):
        raise words.read_only(wanted)


def _app() -> Any:
    """``slicer.app``; None in PythonSlicer and with the libraries alone."""
    return getattr(slicer, "app", None)
