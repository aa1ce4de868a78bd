"""The module from the Python console, in a few lines and without its panel.

    from SegmentAnythingMedLib.apps.slicer import console
    from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt

    found = console.propagate(volumeNode, [BoxPrompt((122, 55, 14), (188, 111, 14))])
    found.segmentation, found.segment_ids["object"], found.millilitres

    cases = [{"volume": f"{name}.nii.gz", "prompts": f"{name}.json", "output": f"{name}-mask.nii.gz"} for name in names]
    results = console.batch(cases)
    console.write_csv(results, "results.csv")

The masks are those of the command line on the same image, bit for bit: both call ``apps.pipelines``. Everything runs in
the calling thread and returns when it is done; a ``Progress`` reports and cancels. Errors are those of the library.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from ...errors import InputError, PromptError
from ...progress import Progress
from ...prompts.json_form import load_prompts, prompts_from_json
from ...prompts.volume_prompts import Prompt, VolumePrompts
from ...propagation.settings import PropagationSettings
from .cases import CANCELLED, DONE, CaseResult, run_cases, summary_of, write_csv
from .collecting import target_of
from .markups import collect
from .plans import facts_of, import_engine, voxels_sha256
from .requests import Scan
from .scribe import Scribe
from .volumes import volume_from_node, volume_revision

if TYPE_CHECKING:
    from ..pipelines import Segmentation

__all__ = ["CaseResult", "Found", "batch", "propagate", "segment", "write_csv"]

OBJECT = "object"
"""Name of the object when there is only one."""
Prompts = VolumePrompts | Mapping[str, Any] | Sequence[Prompt] | str | os.PathLike | None


@dataclass(frozen=True, eq=False)
class Found:
    """What :func:`segment` and :func:`propagate` did.

    Attributes:
        segmentation: node with the result.
        segment_ids: object -> id of its segment.
        result: everything that the library says about the job: labels, records, remarks, times.
        millilitres: object -> volume of its mask.
        protected: object -> slices left alone because they were painted before.
        notes: everything the user should know, in words.
    """

    segmentation: Any
    segment_ids: Mapping[str, str]
    result: Segmentation
    millilitres: Mapping[str, float]
    protected: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def segment(
    volume_node: Any, prompts: Prompts = None, segmentation: Any = None, segment: str | None = None, **options: Any
) -> Found:
    """Segment the prompted slices; see :func:`propagate` for everything."""
    return _run(volume_node, prompts, segmentation, segment, propagate=False, **options)


def propagate(
    volume_node: Any, prompts: Prompts = None, segmentation: Any = None, segment: str | None = None, **options: Any
) -> Found:
    """Segment through the volume.

    Args:
        volume_node: scalar volume of the scene; not changed.
        prompts: a list of prompts for one object; ``VolumePrompts``, or object -> list, for several; parsed JSON or a
            file of it (``prompts.schema.json``); None takes the prompts of ``segment`` in the scene. In space ``ijk``,
            ``lps`` or ``ras`` of the volume itself; prompts in the scene follow transforms.
        segmentation: where to; None makes a new one on the volume's grid.
        segment: id or name of the segment for a single object; by default objects go to the segments of their names,
            which are made when they are missing.
        model: name of the catalogue, path of a checkpoint, or an open model.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        axis: ``auto``, ``k``, ``j``, ``i``.
        window: see ``estimate_mapping``.
        settings: how to walk.
        engine: ``auto``, ``prompt``, ``memory``.
        overwrite_painted: also change slices of an existing segment that a user has painted.
        progress: reports and cancels; after a cancel what was done is written.

    Raises:
        InputError: ``volume.*``, ``segment.*``, ``option.*``.
        PromptError: ``prompt.*``.
        ModelError: ``model.*``, ``checkpoint.*``.
        DeviceError: ``device.*``.
        Cancelled: when there was nothing to keep yet.
    """
    return _run(volume_node, prompts, segmentation, segment, propagate=True, **options)


def batch(
    cases: Sequence[Any],
    *,
    model: Any = "built-in",
    device: str = "auto",
    propagate: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> list[CaseResult]:
    """Several volumes one after the other; a case that fails is reported, and the next one begins.

    Args:
        cases: each a pair ``(volume, prompts)`` or a mapping with ``volume`` (a node, or the path of an image),
            ``prompts`` (as in :func:`propagate`) and, if wanted, ``name``, for nodes ``segmentation`` and ``segment``,
            for paths ``output``, the path of the mask. Images given by path do not come into the scene.
        model: opened once for all.
        device: for a model given by name.
        propagate: False segments the prompted slices only.
        progress: counts the cases; after its ``cancel`` the rest is reported as cancelled.
        options: further ones of :func:`propagate`, for all cases.

    Returns:
        One result per case, in order; ``write_csv`` makes a table of them.

    Raises:
        ModelError: ``model.*``, ``checkpoint.*``.
        DeviceError: ``device.*``.
    """
    import_engine()
    from ...models.catalog import load_model

    opened = load_model(model, device) if isinstance(model, (str, os.PathLike)) else model
    options = {**options, "model": opened, "propagate": propagate}

    def run(case: Mapping[str, Any], inner: Progress) -> CaseResult:
        """One case, from files or from the scene."""
        begun = time.perf_counter()
        if isinstance(case["volume"], (str, os.PathLike)):
            return _file_case(case, begun, progress=inner, **options)
        where = (case.get("segmentation"), case.get("segment"))
        found = _run(case["volume"], case.get("prompts"), *where, progress=inner, **options)
        return CaseResult(
            case["name"], _state(found.result), None, time.perf_counter() - begun, summary_of(found.result),
            found.segmentation, found.segment_ids, notes=found.notes,
        )  # fmt: skip

    return run_cases(cases, run, progress)


def _file_case(
    case: Mapping[str, Any], begun: float, *, propagate: bool, overwrite_painted: bool = False, **options: Any
) -> CaseResult:
    """A case that never comes into the scene: as the command line."""
    from ...files.images import load_volume, save_mask
    from ..pipelines import segment_volume

    volume = load_volume(case["volume"], progress=options["progress"])
    given = _prompts(case.get("prompts"), None, None, None, "auto")
    result = segment_volume(volume, given, propagate=propagate, **options)
    output = None if case.get("output") is None else Path(case["output"])
    if output is not None:
        save_mask(result.labels, volume, output)
    notes = tuple(dict.fromkeys(map(str, result.remarks)))
    return CaseResult(
        case["name"], _state(result), None, time.perf_counter() - begun, summary_of(result), output=output, notes=notes
    )


def _state(result: Segmentation) -> str:
    return DONE if result.completed else CANCELLED


def _run(
    volume_node: Any,
    prompts: Prompts,
    segmentation: Any,
    segment: str | None,
    *,
    propagate: bool,
    overwrite_painted: bool = False,
    settings: PropagationSettings | None = None,
    axis: str = "auto",
    **options: Any,
) -> Found:
    import_engine()
    from ..pipelines import segment_volume

    volume = volume_from_node(volume_node)
    given = _prompts(prompts, volume_node, segmentation, segment, axis)
    if segment is not None and len(given.objects) > 1:
        raise InputError("option.segment", f"Expected one object for one segment; got {len(given.objects)}.")
    result = segment_volume(volume, given, settings=settings, axis=axis, propagate=propagate, **options)
    node = _new_segmentation(volume_node) if segmentation is None else segmentation
    ids = {name: _segment_id(node, name if segment is None else segment) for name in result.values}
    return _write(volume_node, node, ids, result, overwrite_painted)


def _prompts(prompts: Prompts, volume_node: Any, segmentation: Any, segment: str | None, axis: str) -> VolumePrompts:
    if prompts is None:
        return VolumePrompts.single(_placed(volume_node, segmentation, segment, axis), segment or OBJECT)
    if isinstance(prompts, VolumePrompts):
        return prompts
    if isinstance(prompts, (str, os.PathLike)):
        return load_prompts(Path(prompts))
    if isinstance(prompts, Mapping):
        return prompts_from_json(prompts) if "version" in prompts else VolumePrompts(dict(prompts))
    return VolumePrompts.single(prompts)


def _placed(volume_node: Any, segmentation: Any, segment: str | None, axis: str) -> list[Prompt]:
    """Prompts that lie in the scene."""
    if segmentation is None or segment is None:
        raise PromptError("prompt.none", "Expected prompts, or a segment whose prompts lie in the scene; got neither.")
    from ...space.planes import SliceStack

    axis = SliceStack(volume_from_node(volume_node), axis).axis
    return list(collect(segmentation, _segment_id(segmentation, segment), volume_node, axis).prompts)


def _new_segmentation(volume_node: Any) -> Any:
    name = slicer.mrmlScene.GenerateUniqueName("Segmentation")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    return node


def _segment_id(segmentation: Any, wish: str) -> str:
    """Id of the segment with this id or name; a new one where there is none."""
    content = segmentation.GetSegmentation()
    if content.GetSegment(wish) is not None:
        return wish
    return content.GetSegmentIdBySegmentName(wish) or content.AddEmptySegment("", wish)


def _write(volume_node: Any, node: Any, ids: Mapping[str, str], result: Segmentation, overwrite_painted: bool) -> Found:
    scribe, stack = Scribe(), result.stack
    scan = Scan(stack.volume, volume_revision(volume_node), stack.axis)
    facts = facts_of(result.model, stack.volume, result.mapping, stack.axis, voxels_sha256(stack.volume))
    settings = {**result.settings.to_json(), "propagate": result.propagated}
    protected, notes = {}, [str(remark) for remark in result.remarks]
    for name, segment_id in ids.items():
        target = target_of(0, volume_node, node, segment_id, scan, "")
        masks = {n: stack.mask_slice(result.labels, n) == result.values[name] for n in result.results[name].records}
        masks.update(dict.fromkeys(scribe.ours(target) - set(masks), np.zeros(stack.shape, dtype=bool)))
        written = scribe.write(target, masks, overwrite_painted=overwrite_painted)
        found = result.results[name]
        scribe.state(target).records = dict(found.records)
        ends = {key: getattr(found, key) for key in ("lower", "upper", "end_lower", "end_upper", "completed")}
        scribe.describe(target, facts, result.prompts.objects[name], settings, ends, found.notes)
        protected[name] = tuple(written.slices_protected)
        notes += written.notes
    volumes = {name: result.millilitres(name) for name in ids}
    return Found(node, dict(ids), result, volumes, protected, tuple(dict.fromkeys(notes)))
