"""``info`` of a structure file: what an RTSTRUCT or DICOM SEG holds, without its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.rtstruct import CLOSED
from ..files.structures import RTSTRUCT
from .terminal import print_json, warn


def show_structure_file(path: Path, kind: str, *, as_json: bool) -> None:
    """Print the structures of a file, one a line, or as JSON.

    Raises:
        InputError: ``rtstruct.*``, ``seg.*``.
    """
    facts = describe_structure_set(path) if kind == RTSTRUCT else describe_seg(path)
    if as_json:
        print_json(facts)
        return
    warn(facts["notes"])
    print(f"{'kind':12}{facts['kind']}")
    if facts.get("approval"):
        print(f"{'approval':12}{facts['approval']}")
    for one in facts["structures"]:
        details = [one[key] for key in ("type", "algorithm", "category") if one.get(key)]
        print(f"{one['number']:<12}{one['name']}: " + ", ".join([*details, one["content"]]))


def describe_structure_set(path: Path) -> dict[str, Any]:
    """Regions of an RTSTRUCT: number, name, type, algorithm, contours."""
    from ..files.rtstruct import read_structure_set

    found = read_structure_set(path)
    structures = []
    for roi in found.rois:
        closed = sum(contour.kind in CLOSED for contour in roi.contours)
        others = len(roi.contours) - closed
        content = f"{closed} closed contours" + (f", {others} open lines or points" if others else "")
        structures.append(
            {
                "number": roi.number, "name": roi.name, "type": roi.interpreted_type, "algorithm": roi.algorithm,
                "contours": closed, "content": content,
            }
        )  # fmt: skip
    return {
        "kind": "RT Structure Set",
        "approval": found.approval,
        "series": len(found.series_uids),
        "images": len(found.image_uids),
        "structures": structures,
        "notes": list(found.notes),
    }


def describe_seg(path: Path) -> dict[str, Any]:
    """Segments of a DICOM SEG: number, label, type, algorithm, frames."""
    from ..files.dicom_seg import read_seg

    found = read_seg(path)
    structures = []
    for segment in found.segments:
        frames = sum(frame.segment in (None, segment.number) for frame in found.frames)
        structures.append(
            {
                "number": segment.number, "name": segment.label, "type": segment.kind, "algorithm": segment.algorithm,
                "category": segment.category, "frames": frames, "content": f"{frames} frames",
            }
        )  # fmt: skip
    return {
        "kind": f"DICOM Segmentation, {found.kind.lower()}",
        "images": len(found.image_uids),
        "structures": structures,
        "notes": [],
    }
