"""What ``slicer.util.load*`` and ``save*`` ask of the application: files to nodes and back, by storage nodes."""

from __future__ import annotations

import os

import slicer
import vtk

FILE_TYPES = {
    "VolumeFile": (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm"),
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr"),
    "MarkupsFile": (".mrk.json", ".fcsv"),
    "TransformFile": (".h5", ".tfm", ".mat"),
    "ModelFile": (".vtk", ".stl", ".ply", ".obj"),
    "SceneFile": (".mrml", ".mrb"),
    "SequenceFile": (".seq.nrrd",),
}
NODE_AND_STORAGE = {
    "SegmentationFile": ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"),
    "TransformFile": ("vtkMRMLLinearTransformNode", "vtkMRMLTransformStorageNode"),
    "SequenceFile": ("vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode"),
    "ModelFile": ("vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
}
KNOWN_PROPERTIES = {"fileName", "name", "labelmap", "singleFile", "show", "clear", "autoOpacities", "colorNodeID"}


class StandInIOManager:
    """The part of qSlicerCoreIOManager that ``slicer.util`` calls."""

    def fileType(self, path: str) -> str:
        """Type of a file by the longest ending that is known; ``NoFile`` for others."""
        known = [(ending, kind) for kind, endings in FILE_TYPES.items() for ending in endings]
        fitting = [(len(ending), kind) for ending, kind in known if str(path).lower().endswith(ending)]
        return max(fitting)[1] if fitting else "NoFile"

    def loadNodes(
        self, kind: str, properties: dict, collection: vtk.vtkCollection | None = None, messages: object = None
    ) -> bool:
        """Read a file; the new node is appended to ``collection``. False when it cannot be read."""
        unknown = set(properties) - KNOWN_PROPERTIES
        if unknown or kind not in FILE_TYPES:
            raise NotImplementedError(f"the stand-in cannot load {kind} with {sorted(unknown)}")
        path = str(properties["fileName"])
        if not os.path.exists(path):
            return False
        if kind == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear")))
        node = self._load_node(kind, path, properties.get("name") or os.path.basename(path).split(".")[0], properties)
        if node is not None and collection is not None:
            collection.AddItem(node)
        return node is not None

    def saveNodes(self, kind: str, properties: dict, messages: object = None) -> bool:
        """Write one node through its storage node, or the scene."""
        if kind == "SceneFile":
            return self._save_scene(str(properties["fileName"]))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(properties["fileName"]))
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))

    def fileWriterFileType(self, node: object) -> str:
        """File type of a node that has a storage node."""
        return "NodeFile"

    def addDefaultStorageNodes(self) -> None:
        """Give every storable node a storage node, as saving in the application does."""
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            if node.GetSaveWithScene():
                node.AddDefaultStorageNode()

    def _load_scene(self, path: str, clear: bool) -> bool:
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(path, clear))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Connect() if clear else slicer.mrmlScene.Import())

    def _save_scene(self, path: str) -> bool:
        if path.endswith(".mrb"):
            self.addDefaultStorageNodes()
            return bool(slicer.mrmlScene.WriteToMRB(path, vtk.vtkImageData()))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Commit())

    def _load_node(self, kind: str, path: str, name: str, properties: dict) -> object:
        scene = slicer.mrmlScene
        if kind == "VolumeFile":
            options = int(bool(properties.get("labelmap"))) + 4 * int(bool(properties.get("singleFile")))
            return slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if kind == "MarkupsFile":
            return scene.GetNodeByID(slicer.modules.markups.logic().LoadMarkups(path, name))
        node_class, storage_class = NODE_AND_STORAGE[kind]
        node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(name))
        storage = scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        if not storage.ReadData(node):
            scene.RemoveNode(node)
            scene.RemoveNode(storage)
            return None
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return node
