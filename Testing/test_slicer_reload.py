"""The developer's Reload of the module, by Slicer's own function, and its effect at the start. In a process of its own:
reloading makes new classes of the whole library."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from conftest import REPOSITORY

SCRIPT = """
import sys
sys.path[:0] = {paths}
from standin.host import the_host
host = the_host().open_gui()
from standin.module_loading import load_module, unload_module
import slicer
loaded = load_module({module!r}, host)
slicer.app.emit("startupCompleted()")
effects = slicer.qSlicerSegmentEditorEffectFactory.instance().effects
print("effects", list(effects), "samples", sorted(slicer.modules.sampleDataSources))
old = loaded.widget
observers = len(old.Observations)
old.onReload()
new = slicer.modules.SegmentAnythingMedWidget
print("new", new is not old, type(new) is not type(old), new.parent is old.parent, len(new.Observations) == observers)
print("left", old.Observations, host.errors.report())
library = sys.modules["SegmentAnythingMedLib.apps.slicer.panel"]
print("library", type(new.panel) is library.Panel, type(old.panel) is not library.Panel)
unload_module(loaded._replace(widget=new), host)
host.close_gui()
print("end")
"""


def test_reload(slicer_gui) -> None:
    assert find_spec("PySide6")
    paths = [str(REPOSITORY / "SegmentAnythingMed"), str(REPOSITORY / "Testing")]
    code = SCRIPT.format(paths=paths, module=str(REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMed.py"))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[:4] == [
        "effects ['Segment Anything'] samples ['Segment Anything Med']",
        "new True True True True",
        "left [] ",
        "library True True",
    ], ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("end")
