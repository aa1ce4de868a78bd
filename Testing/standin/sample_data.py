"""Stand-in for the module SampleData: registration of samples, copying of ``file:`` addresses, check of the hash."""

from __future__ import annotations

import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import slicer
import vtk


class SampleDataSource:
    """One sample; every field that lists something has one entry for each address."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
    ) -> None:
        if customDownloader is not None:
            raise NotImplementedError("the stand-in knows no customDownloader")
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            checksums, loadFiles, loadFileType = [checksums], [loadFiles], [loadFileType]
        count = len(uris)
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.uris, self.fileNames = list(uris), list(fileNames)
        self.nodeNames = list(nodeNames or [None] * count)
        self.checksums = list(checksums or [None] * count)
        self.loadFiles = list(loadFiles or [None] * count)
        self.loadFileType = [loadFileType] * count if isinstance(loadFileType, str) else list(loadFileType)
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        lists = (self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileType)
        if any(len(entries) != count for entries in lists):
            raise ValueError("all fields of a sample must have the same length")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None


class SampleDataLogic:
    """Registration and loading of samples."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = "VolumeFile",
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] = {},  # noqa: B006 - as the real one
        checksums: Any = None,
    ) -> None:
        """Add a sample to a category; one that is there already is not added again."""
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        sources = SampleDataLogic.sampleDataSourcesByCategory().setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> Any:
        """Samples of a category, or all as a dict."""
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        every = slicer.modules.sampleDataSources
        return every if category is None else every.get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        """A sample by its name."""
        every = [source for sources in self.sampleDataSourcesByCategory().values() for source in sources]
        return next((source for source in every if source.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str) -> Any:
        """Load a sample; its first node."""
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """Load a sample; all its nodes."""
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadFromSource(self, source: SampleDataSource, maximumAttemptsCount: int = 3) -> list[Any]:
        """Copy the files, check their hashes, load them.

        Raises:
            ValueError: an address on another machine, or a file whose hash is not the expected one.
        """
        nodes = []
        rows = zip(source.uris, source.fileNames, source.nodeNames, source.checksums, source.loadFileType, strict=True)
        for uri, file_name, node_name, checksum, kind in rows:
            path = self._copy(uri, file_name, checksum)
            loaded = vtk.vtkCollection()
            properties = {**source.loadFileProperties, "fileName": str(path), "name": node_name}
            if not slicer.app.coreIOManager().loadNodes(kind, properties, loaded):
                raise ValueError(f"{path} could not be loaded")
            node = loaded.GetItemAsObject(0)
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())
            node.SetAndObserveStorageNodeID(None)
            nodes.append(node)
        return nodes

    @staticmethod
    def _copy(uri: str, name: str, checksum: str | None) -> Path:
        parts = urllib.parse.urlparse(uri)
        if parts.scheme != "file":
            raise ValueError(f"the stand-in downloads nothing: {uri}")
        path = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / name
        path.write_bytes(Path(urllib.request.url2pathname(parts.path)).read_bytes())
        if checksum:
            algorithm, digest = slicer.util.extractAlgoAndDigest(checksum)
            if slicer.util.computeChecksum(algorithm, str(path)) != digest:
                path.unlink()
                raise ValueError(f"the hash of {name} is not {checksum}")
        return path


def downloadSample(sampleName: str) -> Any:
    """Load a sample; its first node."""
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list[Any]:
    """Load a sample; all its nodes."""
    return SampleDataLogic().downloadSamples(sampleName)
