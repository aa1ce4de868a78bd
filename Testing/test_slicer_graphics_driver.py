"""Triton after a picture by Mesa ends the process; the module keeps it out where that would happen, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import REPOSITORY

DRAW = """
import sys, vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""
ENGINE = """
import sys, types
from SegmentAnythingMedLib.apps.slicer import graphics_driver
"""


def run(code: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(REPOSITORY / "SegmentAnythingMed"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvision_is_imported_after_a_picture(rendering) -> None:
    """All that the engine imports, in the order of the application: views first."""
    code = DRAW + ENGINE + "from SegmentAnythingMedLib.apps.slicer.plans import import_engine\nimport_engine()\n"
    done = run(code + "import torchvision, torch\nprint(torch.zeros(2, 2).sum().item())")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "0.0"


def test_it_stays_where_there_is_no_danger(tmp_path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 0 /usr/lib/libc.so.6\n")
    code = ENGINE + f"graphics_driver._LOADED = {str(maps)!r}\nprint(graphics_driver.keep_triton_out())\n"
    done = run(code + "print('triton' in sys.modules)")
    assert done.stdout.split() == ["False", "False"], done.stderr
    missing = (
        ENGINE + f"graphics_driver._LOADED = {str(tmp_path / 'none')!r}\nprint(graphics_driver.keep_triton_out())\n"
    )
    assert run(missing).stdout.split() == ["False"]


def test_it_is_kept_out_with_a_word_in_the_log(tmp_path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 0 /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n")
    code = ENGINE + f"graphics_driver._LOADED = {str(maps)!r}\n"
    code += "print(graphics_driver.keep_triton_out(), graphics_driver.keep_triton_out())\n"
    code += "try:\n    import triton\nexcept ImportError:\n    print('refused')\n"
    done = run(code)
    assert done.stdout.split() == ["True", "True", "refused"], done.stderr
    assert done.stderr.count("Triton") == 1


def test_one_that_is_there_already_stays(tmp_path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("/usr/lib/libLLVM-15.so.1\n")
    code = ENGINE + f"graphics_driver._LOADED = {str(maps)!r}\n"
    code += "sys.modules['triton'] = there = types.ModuleType('triton')\n"
    done = run(code + "print(graphics_driver.keep_triton_out(), sys.modules['triton'] is there)")
    assert done.stdout.split() == ["False", "True"], done.stderr
