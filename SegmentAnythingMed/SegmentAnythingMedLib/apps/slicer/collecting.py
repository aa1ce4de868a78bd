"""From nodes of the scene to what a request needs: the image, the prompts of a segment, and where the result goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ...errors import InputError, PromptError
from ...prompts.volume_prompts import MaskPrompt, StopMark
from ...space.planes import SliceStack
from .painted import painted_slices
from .plans import marks_of, resolved
from .prompt_nodes import segment_of
from .reading import read_slice
from .requests import Scan
from .targets import Target
from .volumes import volume_from_node, volume_revision

if TYPE_CHECKING:
    from ...prompts.volume_prompts import Prompt
    from .segment_state import SegmentState

DISPLAY = "display"
"""Window of a scan: the one with which the volume is shown."""


def scan_of(volume: Any, axis: str = "auto", window: str = "auto") -> Scan:
    """A volume node as the worker sees it: a view of its voxels and plain values.

    Args:
        volume: scalar volume node.
        axis: ``k``, ``j``, ``i``, ``auto``; the scan has it resolved.
        window: as ``estimate_mapping``, or ``display``.

    Raises:
        InputError: ``volume.*``, ``option.axis``.
    """
    seen = volume_from_node(volume)
    if window == DISPLAY:
        display = volume.GetDisplayNode()
        window = "auto" if display is None else f"{display.GetLevel():.6g},{max(display.GetWindow(), 1e-6):.6g}"
    return Scan(seen, volume_revision(volume), SliceStack(seen, axis).axis, window)


def target_of(generation: int, volume: Any, segmentation: Any, segment_id: str, scan: Scan, fingerprint: str) -> Target:
    """Where the answer to these prompts belongs.

    Raises:
        InputError: ``segment.*``.
    """
    segment = segment_of(segmentation, segment_id)
    return Target(generation, volume, segmentation, segment_id, scan.revision, fingerprint, scan.axis, segment)


def check_choice(volume: Any, segmentation: Any, segment_id: str) -> None:
    """Refuse to start without a volume, a segmentation and a segment.

    Raises:
        InputError: ``volume.missing``, ``segment.no_segmentation``, ``segment.missing``.
    """
    if volume is None:
        raise InputError("volume.missing", _("Expected a volume; none is chosen. Load or choose one."))
    segment_of(segmentation, segment_id)


def prompt_marks(prompts: Iterable[Prompt], scan: Scan) -> dict[int, str]:
    """Slice -> what its prompts are, in a word; none when the prompts cannot be used (yet)."""
    try:
        return marks_of(resolved(prompts, SliceStack(scan.volume, scan.axis)))
    except PromptError:
        return {}


def painted_seeds(target: Target, indices: Iterable[int]) -> list[Prompt]:
    """Slices that the user painted, as they are. One that is empty now was erased: the object does not reach it."""
    found: list[Prompt] = []
    for index in sorted(indices):
        mask = read_slice(target.segmentation, target.segment_id, target.volume, target.axis, index)
        found.append(MaskPrompt(mask, index, target.axis) if mask.any() else StopMark(index))
    return found


def painted_on(target: Target) -> set[int]:
    """Slices that the user painted or erased since we last wrote there."""
    return set(painted_slices(target.segmentation, target.segment_id, target.volume, target.axis))


def chosen_seeds(state: SegmentState, marks: dict[int, str]) -> list[Prompt]:
    """The candidates that the user chose in place of the model's first answer, where the prompts are still the same."""
    return [MaskPrompt(mask, index, state.axis) for index, mask in sorted(state.chosen_for(marks).items())]
