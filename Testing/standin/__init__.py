"""Stand-in for the 3D Slicer application on its real C++ libraries (package ``slicer-core``). For tests only.

Real: MRML scene and nodes, module logics, segmentations, markups, transforms, sequences, the segment editor's logic,
displayable managers, ``slicer.util``. Supplied here: ``slicer.app``, ``slicer.modules``, the scripted module's base
classes, the parameter node wrapper, ``slicer.i18n``, ``slicer.packaging``, ``qt``, ``ctk`` and the widgets of Slicer.
docs/testing-without-slicer.md tells what this cannot prove. The product never imports this package.
"""
