"""What the user is told when something cannot be installed: what was expected, what is there, what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from slicer.i18n import tr as _

from ...errors import InstallError
from . import requirements
from .requirements import Requirement


def too_old(version: Sequence[int], oldest: Sequence[int]) -> InstallError:
    """``install.slicer``."""
    text = _(
        "Expected 3D Slicer {oldest} or newer; this is {version} with Python {python}. Install a newer 3D Slicer and "
        "this extension in it; your data can stay as they are."
    )
    python = _dotted(sys.version_info[:2])
    return InstallError("install.slicer", text.format(oldest=_dotted(oldest), version=_dotted(version), python=python))


def no_pytorch_extension(wanted: Sequence[Requirement]) -> InstallError:
    """``install.pytorch``: the extension that installs PyTorch is missing."""
    text = _(
        "Expected PyTorch, which the extension PyTorch installs; that extension is missing. Open View > Extensions "
        "Manager, install PyTorch, restart 3D Slicer and try again. Without the extension server run: {command}."
    )
    return InstallError("install.pytorch", text.format(command=command(wanted)))


def wrong_pytorch(left: Sequence[Requirement]) -> InstallError:
    """``install.pytorch``: something else was installed than what is needed."""
    text = _(
        "Expected {wanted} after the installation, got {found}. Open the module PyTorch Utils, uninstall PyTorch, "
        "restart 3D Slicer and install it there with this version requirement."
    )
    found = ", ".join(f"{item.name} {requirements.installed(item.name) or '-'}" for item in left)
    return InstallError("install.pytorch", text.format(wanted=listed(left), found=found))


def not_in_main_thread(wanted: Sequence[Requirement]) -> InstallError:
    """``install.thread``."""
    text = _("Expected {names} to be installed; packages are installed from the main thread only.")
    return InstallError("install.thread", text.format(names=listed(wanted)))


def no_application(wanted: Sequence[Requirement]) -> InstallError:
    """``install.testing``."""
    text = _(
        "Expected {names} to be installed. Nothing is installed in testing mode or without the application: run "
        "{command}."
    )
    return InstallError("install.testing", text.format(names=listed(wanted), command=command(wanted)))


def read_only(wanted: Sequence[Requirement]) -> InstallError:
    """``install.read_only``."""
    text = _(
        "Expected {names} to be installed; you may not write to the Python folder of 3D Slicer. Ask the person who "
        "installed 3D Slicer to run: {command}; or install 3D Slicer in a folder of your own. Volumes, prompts and "
        "finished segments can be used without it."
    )
    return InstallError("install.read_only", text.format(names=listed(wanted), command=command(wanted)))


def failed(wanted: Sequence[Requirement], error: Exception | None) -> InstallError:
    """``install.failed``: pip did not do it; its own output is in Slicer's log."""
    text = _(
        "Expected {names} to be installed; the installation failed{reason}. Check the internet connection and the "
        "proxy (pip reads HTTPS_PROXY and PIP_CERT), or run this in a terminal and restart 3D Slicer: {command}. On a "
        "computer without internet copy the wheels there and add --no-index --find-links FOLDER."
    )
    reason = "" if error is None else f" ({type(error).__name__})"
    return InstallError("install.failed", text.format(names=listed(wanted), reason=reason, command=command(wanted)))


def declined(wanted: Sequence[Requirement]) -> InstallError:
    """``install.declined``."""
    text = _("{names} were not installed, so no mask can be computed. Start again when you want them.")
    return InstallError("install.declined", text.format(names=listed(wanted)))


def replaced(changed: Sequence[str]) -> InstallError:
    """``install.replaced``: an installer changed what belongs to Slicer."""
    text = _(
        "The installation changed packages that belong to 3D Slicer: {changed}. Save your work and restart 3D Slicer; "
        "if it does not start properly, install 3D Slicer again."
    )
    return InstallError("install.replaced", text.format(changed=", ".join(changed)))


def question(wanted: Sequence[Requirement]) -> str:
    """What is asked before pip runs, where Slicer does not ask itself."""
    text = _("{count} Python packages will be installed into 3D Slicer: {names}. Slicer's own stay as they are.")
    return text.format(count=len(wanted), names=listed(wanted))


def command(wanted: Sequence[Requirement]) -> str:
    """The same installation, typed in a terminal."""
    return "PythonSlicer -m pip install " + " ".join(f'"{requirement}"' for requirement in wanted)


def listed(wanted: Sequence[Requirement]) -> str:
    """Requirements in a sentence."""
    return ", ".join(map(str, wanted))


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))
