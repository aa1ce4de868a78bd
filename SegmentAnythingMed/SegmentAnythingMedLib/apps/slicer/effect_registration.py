"""Registration of the Segment Editor effect with the application."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).parents[3] / "SegmentAnythingMedEffect" / "SegmentEditorSegmentAnythingEffect.py"


def register_effect() -> None:
    """Make the effect known to all Segment Editors.

    Connected to the application's ``startupCompleted()``: the editor's classes are loaded by then. Calling it again
    changes nothing, the editor knows effects by their name.
    """
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(SOURCE.as_posix())
    effect.self().register()
