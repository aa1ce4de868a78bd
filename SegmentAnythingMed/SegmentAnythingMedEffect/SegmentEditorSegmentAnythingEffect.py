"""Where 3D Slicer finds the Segment Editor effect.

Slicer loads an effect from a file, into a Python module named as the file's folder, as a class named as the file. The
class itself is in the library; in a folder named ``slicer`` it would be loaded into Slicer's own module.
"""

from SegmentAnythingMedLib.apps.slicer.effect import SegmentEditorSegmentAnythingEffect

__all__ = ["SegmentEditorSegmentAnythingEffect"]
