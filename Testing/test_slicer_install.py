"""Installation before the first use, on pretended environments: what is asked, what is left alone, what is said."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import REPOSITORY

MODULE = REPOSITORY / "SegmentAnythingMed"
OWN = {"numpy": "2.4.6", "scipy": "1.17.1", "simpleitk": "2.5.5", "pydicom": "3.0.2", "pillow": "12.0.0"}
TORCH = {"torch": "2.12.0", "torchvision": "0.27.0"}
PACKAGES = {"segment-anything": "1.0", "safetensors": "0.6.2", "scikit-image": "0.25.2"}


@pytest.fixture
def environment(slicer_host: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pretended Slicer 5.12 with its own packages only; the installer looks there."""
    from SegmentAnythingMedLib.apps.slicer import requirements
    from standin.packaging import STATE

    slicer_host.set_testing(False)
    STATE.installed.update(OWN)
    monkeypatch.setattr(requirements, "installed", STATE.version)
    return STATE


@pytest.fixture
def pytorch_extension() -> Iterator[list[dict[str, Any]]]:
    from standin.pytorch_utils import extension_installed

    with extension_installed() as calls:
        yield calls


def code_of(function: Any) -> tuple[str, str]:
    from SegmentAnythingMedLib.errors import InstallError

    with pytest.raises(InstallError) as caught:
        function()
    return caught.value.code, str(caught.value)


def test_everything_there_asks_nothing(environment, pytorch_extension) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH | PACKAGES)
    install.ensure_ready()
    assert (environment.asked, environment.installs, pytorch_extension) == ([], [], [])


def test_what_is_missing_is_installed_after_one_question(environment, pytorch_extension) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.available.update(TORCH)
    install.ensure_ready()
    assert pytorch_extension == [{"ask": True, "backend": None, "version": ">=2.10"}]
    assert environment.asked == [["segment-anything<2,>=1.0", "safetensors<1,>=0.5", "scikit-image<1,>=0.24"]]
    assert {name: environment.version(name) for name in OWN} == OWN
    install.ensure_ready()
    assert len(environment.installs) == 1


def test_slicers_own_packages_and_torch_are_pinned(environment) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH)
    install.ensure_ready()
    pins = environment.constraints[0].split()
    assert {"numpy==2.4.6", "SimpleITK==2.5.5", "pydicom==3.0.2", "torch==2.12.0", "torchvision==0.27.0"} <= set(pins)


def test_slicer_5_10_asks_by_itself(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH)
    questions = []
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.delattr(slicer, "packaging")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title: bool(questions.append(text)) or True)
    monkeypatch.setattr(slicer.util, "pip_install", pretend_pip)
    install.ensure_ready()
    assert "segment-anything>=1.0,<2" in questions[0]
    assert environment.version("scikit-image") == "0.24"
    assert "numpy==2.4.6" in environment.constraints[0]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, title: False)
    del environment.installed["safetensors"]
    assert code_of(install.ensure_ready)[0] == "install.declined"


def pretend_pip(requirements: list[str]) -> None:
    from standin import packaging

    packaging.pip_install(requirements)


def test_sam2_only_when_asked_for(environment) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH | PACKAGES)
    install.ensure_ready()
    assert environment.version("sam2") is None
    install.ensure_sam2()
    assert environment.version("sam2") == "1.1"


@pytest.mark.parametrize(
    ("family", "wanted"), [("embedded", False), ("medsam", False), ("sam2", True), ("medsam2", True)]
)
def test_what_a_model_of_the_catalogue_needs(environment, family: str, wanted: bool) -> None:
    from SegmentAnythingMedLib.apps.slicer import install
    from SegmentAnythingMedLib.models.entries import all_entries

    environment.installed.update(TORCH | PACKAGES)
    install.ensure_for(next(entry.name for entry in all_entries() if entry.family == family))
    assert (environment.version("sam2") is not None) is wanted


def test_missing_extension_is_said_in_words(environment) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    code, text = code_of(install.ensure_ready)
    assert code == "install.pytorch"
    assert "Extensions Manager" in text
    assert environment.installs == []


def test_pytorch_of_the_wrong_age_is_said_in_words(environment, pytorch_extension) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.available.update({"torch": "2.12.0", "torchvision": "0.2.2"})
    code, text = code_of(install.ensure_ready)
    assert code == "install.pytorch"
    assert "torchvision 0.2.2" in text


@pytest.mark.parametrize("torch_is_there", [False, True])
def test_a_no_is_a_no(environment, pytorch_extension, torch_is_there: bool) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH if torch_is_there else {})
    environment.answer = False
    assert code_of(install.ensure_ready)[0] == "install.declined"
    assert environment.installs == []


def test_blocked_pip_gives_instructions(environment) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH)
    environment.failure = subprocess.CalledProcessError(1, "pip install")
    code, text = code_of(install.ensure_ready)
    assert code == "install.failed"
    assert 'PythonSlicer -m pip install "segment-anything>=1.0,<2"' in text
    assert "HTTPS_PROXY" in text


def test_read_only_installation_gives_instructions(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH)
    monkeypatch.setattr(install.os, "access", lambda *_: False)
    code, text = code_of(install.ensure_ready)
    assert code == "install.read_only"
    assert "PythonSlicer -m pip install" in text
    assert environment.installs == []


def test_a_replaced_package_is_noticed(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    environment.installed.update(TORCH)
    pretended = install._install

    def careless(*arguments: Any) -> bool:
        environment.installed["numpy"] = "1.26.4"
        return pretended(*arguments)

    monkeypatch.setattr(install, "_install", careless)
    code, text = code_of(install.ensure_ready)
    assert code == "install.replaced"
    assert "numpy 2.4.6 -> 1.26.4" in text


def test_nothing_is_installed_in_testing_mode(environment, slicer_host, pytorch_extension) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    slicer_host.set_testing(True)
    assert code_of(install.ensure_ready)[0] == "install.testing"
    assert (pytorch_extension, environment.asked) == ([], [])


def test_nothing_is_installed_from_another_thread(environment, pytorch_extension) -> None:
    from SegmentAnythingMedLib.apps.slicer import install

    codes = []
    thread = threading.Thread(target=lambda: codes.append(code_of(install.ensure_ready)[0]))
    thread.start()
    thread.join()
    assert codes == ["install.thread"]


@pytest.mark.parametrize(("version", "fits"), [((5, 8), False), ((4, 11), False), ((5, 10), True), ((6, 0), True)])
def test_old_versions_of_slicer(environment, monkeypatch, version: tuple[int, int], fits: bool) -> None:
    import types

    from SegmentAnythingMedLib.apps.slicer import install

    app = types.SimpleNamespace(majorVersion=version[0], minorVersion=version[1])
    monkeypatch.setattr(install, "_app", lambda: app)
    if fits:
        install.check_slicer()
    else:
        code, text = code_of(install.check_slicer)
        assert code == "install.slicer"
        assert "5.10" in text
        assert ".".join(map(str, version)) in text


def test_core_loads_without_any_package(slicer_host) -> None:
    """Fault 89: with pip blocked the module still opens; here without torch and all that is installed."""
    blocked = ["torch", "torchvision", "segment_anything", "safetensors", "skimage", "monai", "matplotlib", "tqdm"]
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
        "from standin.host import the_host\nthe_host()\n"
        "from SegmentAnythingMedLib.apps.slicer import parameters, install, controller, volumes, markups, writing\n"
        "controller.Controller().close()\nprint('loaded')"
    )
    paths = [str(MODULE), str(REPOSITORY / "Testing")]
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.strip(), ran.returncode) == ("loaded", 0), ran.stderr


def test_requirements_name_ranges_and_nothing_of_slicers(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer import install, requirements

    wanted = requirements.read()
    assert wanted
    assert all(item.at_least and item.below for item in wanted)
    assert not {item.name.lower() for item in wanted} & {name.lower() for name in install.KEPT}


@pytest.mark.parametrize("line", ["numpy", "a>=1.0,<2", "a-b.c>=2.10"])
def test_requirements_are_read(line: str) -> None:
    from SegmentAnythingMedLib.apps.slicer import requirements

    assert str(requirements.parse(line)) == line


@pytest.mark.parametrize("line", ["a==1.0", "a~=1.0", "a>=1 ; python_version<'3'", "-r other.txt", "git+https://x/y"])
def test_other_requirements_are_refused(line: str) -> None:
    from SegmentAnythingMedLib.apps.slicer import requirements

    with pytest.raises(ValueError, match="Expected"):
        requirements.parse(line)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.9.1", False), ("2.10", True), ("2.10.0+cu130", True), ("2.10.0rc1", True), ("3", False), (None, False)],
)
def test_versions_are_compared_by_number(version: str | None, fits: bool) -> None:
    from SegmentAnythingMedLib.apps.slicer.requirements import Requirement

    assert Requirement("torch", "2.10", "3").met_by(version) is fits
