"""Undo and redo of what this module writes: only the cells that changed are kept, for all segments that changed.

Undo gives every cell of a step its former owner back, unless somebody has changed the cell since: the user's painting
after a write is never lost by undoing the write. Without such changes the segments are exactly as before, also those
that lost voxels to the write. The Segment Editor has a history of its own, whole copies of the segmentation. The two do
not know each other and cannot spoil each other: going back in the editor brings back a state as it was, and a step here
changes only cells that still are as it left them.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import slicer
from slicer.i18n import tr as _

from .editing import CellEditor, set_derived_aside
from .labelmaps import Box, layer_of
from .prompt_nodes import tag_of

MAXIMUM_STEPS = 50
MAXIMUM_BYTES = 256 * 2**20
"""The oldest steps are forgotten when all steps together are larger."""


@dataclass(frozen=True, eq=False)
class Change:
    """Cells of one segment that a write changed, as packed bits of the write's box.

    Attributes:
        segment_id: of the segment.
        given: cells that became the segment's.
        taken: cells that it lost.
    """

    segment_id: str
    given: bytes
    taken: bytes


@dataclass(frozen=True, eq=False)
class Write:
    """What one write did to all segments.

    Attributes:
        to_ras: grid of the cells, float64 [4, 4].
        box: the cells that are compared.
        changes: of every segment that changed.
    """

    to_ras: np.ndarray
    box: Box
    changes: tuple[Change, ...]

    @classmethod
    def between(cls, to_ras: np.ndarray, box: Box, before: dict, after: dict) -> Write:
        """From the segments' cells before and after, id -> bool [K, J, I] of the box."""
        changes = []
        for segment_id, cells in before.items():
            now = after[segment_id]
            if not np.array_equal(cells, now):
                changes.append(Change(segment_id, _pack(now & ~cells), _pack(cells & ~now)))
        return cls(to_ras, box, tuple(changes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I) of the box."""
        return tuple(high - low for low, high in self.box[::-1])

    def cells(self, packed: bytes) -> np.ndarray:
        """Packed bits as bool [K, J, I] of the box."""
        bits = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
        return np.unpackbits(bits, count=int(np.prod(self.shape))).reshape(self.shape).astype(bool)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(len(change.given) + len(change.taken) for change in self.changes)


def _pack(cells: np.ndarray) -> bytes:
    """Bits, squeezed: a whole body's box is megabytes of almost nothing but zeros."""
    return zlib.compress(np.packbits(cells).tobytes(), 1)


@dataclass(eq=False)
class Step:
    """What one undo takes back: one or several writes, and the tags of their segments.

    Attributes:
        writes: in the order in which they were made.
        tags: (segment id, tag) -> text that goes back with the step; empty is no tag.
    """

    writes: list[Write] = field(default_factory=list)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(write.nbytes for write in self.writes) + sum(map(len, self.tags.values()))


class History:
    """Steps of one segmentation that can be taken back and done again.

    Args:
        segmentation: in a scene.
        maximum_steps: older steps are forgotten.
        maximum_bytes: the oldest are forgotten, too, when all together are larger.

    Attributes:
        notes: after :meth:`undo` or :meth:`redo`: what could not be restored, in words.
    """

    def __init__(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        maximum_steps: int = MAXIMUM_STEPS,
        maximum_bytes: int = MAXIMUM_BYTES,
    ) -> None:
        self._segmentation = segmentation
        self._maximum_steps, self._maximum_bytes = maximum_steps, maximum_bytes
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._open = False
        self.notes: tuple[str, ...] = ()

    @property
    def can_undo(self) -> bool:
        """True when there is a step to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """True when there is a step to do again."""
        return bool(self._undone)

    def save(self) -> None:
        """Begin a step: what is written from here to the next call is undone as one.

        ``SegmentWriter.write`` calls this itself unless it is told to join the step before. A step in which nothing
        changes does not count.
        """
        self._open = False

    def record(self, write: Write, tags: dict[tuple[str, str], str]) -> None:
        """Remember a write; what was undone before cannot be done again after it.

        Args:
            write: what changed.
            tags: (segment id, tag) -> text before the write, for the tags that the step restores.
        """
        if not write.changes:
            return
        if not self._open or not self._done:
            self._done.append(Step())
            self._open = True
        step = self._done[-1]
        step.writes.append(write)
        step.tags = {**tags, **step.tags}
        self._undone.clear()
        while len(self._done) > 1 and (
            len(self._done) > self._maximum_steps or sum(one.nbytes for one in self._done) > self._maximum_bytes
        ):
            self._done.popleft()

    def undo(self) -> bool:
        """Take the last step back; False when there is none. Closed surfaces are set aside, as by a write."""
        if not self._done or self._segmentation.GetScene() is None:
            return False
        step = self._done.pop()
        self._undone.append(self._apply(step, reversed(step.writes), backwards=True))
        return True

    def redo(self) -> bool:
        """Do the step again that was taken back last; False when there is none."""
        if not self._undone or self._segmentation.GetScene() is None:
            return False
        step = self._undone.pop()
        self._done.append(self._apply(step, iter(step.writes), backwards=False))
        return True

    def clear(self) -> None:
        """Forget all steps."""
        self._done.clear()
        self._undone.clear()
        self._open = False

    def _apply(self, step: Step, writes: Iterator[Write], backwards: bool) -> Step:
        """Bring cells and tags back; returns the step with the tags as they were until now."""
        self._open = False
        notes: list[str] = []
        set_derived_aside(self._segmentation)
        editor = CellEditor(self._segmentation)
        for write in writes:
            notes += self._bring_back(editor, write, backwards)
        self.notes = tuple(dict.fromkeys(notes))
        return Step(step.writes, self._swap_tags(step.tags))

    def _bring_back(self, editor: CellEditor, write: Write, backwards: bool) -> list[str]:
        notes, plans = [], []
        untouched = np.ones(write.shape, dtype=bool)
        for change in write.changes:
            given, taken = write.cells(change.given), write.cells(change.taken)
            if backwards:
                given, taken = taken, given
            now = self._now(change.segment_id, write)
            if isinstance(now, str):
                notes.append(now)
                continue
            untouched &= ~((given & now) | (taken & ~now))
            plans.append((change.segment_id, given, taken))
        if not untouched.all():
            notes.append(_("{n} voxels were changed since and are left as they are.").format(n=int((~untouched).sum())))
        for segment_id, _given, taken in plans:
            editor.remove(segment_id, write.box, taken & untouched)
        for segment_id, given, _taken in plans:
            editor.add(segment_id, write.to_ras, write.box, given & untouched)
        return notes

    def _now(self, segment_id: str, write: Write) -> np.ndarray | str:
        """Cells of a segment as they are, or why they cannot be compared."""
        segment = self._segmentation.GetSegmentation().GetSegment(segment_id)
        if segment is None:
            return _("A segment of this step was removed since; it is left out.")
        layer = layer_of(self._segmentation, segment_id)
        if layer is None:
            return np.zeros(write.shape, dtype=bool)
        if not np.allclose(layer.to_ras, write.to_ras, atol=1e-4):
            return _("{name} lies on another grid since; it is left as it is.").format(name=segment.GetName())
        return layer.read(write.box)

    def _swap_tags(self, tags: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        before = {}
        for (segment_id, name), text in tags.items():
            segment = self._segmentation.GetSegmentation().GetSegment(segment_id)
            if segment is None:
                before[segment_id, name] = text
                continue
            before[segment_id, name] = tag_of(segment, name)
            if text:
                segment.SetTag(name, text)
            else:
                segment.RemoveTag(name)
        return before
