"""A propagation as the main thread sees it: started, written while it runs, ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from ...errors import Cancelled, PromptError, SegmentAnythingMedError
from ...propagation import records
from ...propagation.records import Propagation, SliceRecord
from .collecting import chosen_seeds, painted_on, painted_seeds, prompt_marks, scan_of, target_of
from .events import Propagated
from .live import LiveTask, prompts_of
from .markups import collect
from .requests import Foretold, PropagateRequest, PropagateResult
from .saying import said
from .tasks import Task

if TYPE_CHECKING:
    from ...prompts.volume_prompts import Prompt
    from .controller import Controller
    from .requests import Scan
    from .targets import Target


@dataclass
class Course:
    """One segment of a propagation.

    Attributes:
        target: where it is written.
        prompts: what it starts from.
        marks: slice -> mark of the user's own prompts.
        painted: slices that are the user's, and seeds as they are.
        chosen: slices with a candidate that the user chose.
        written: slice -> mask that was handed to the writer so far.
        found: slice -> record so far.
        protected: slices that the writer left alone.
        dropped: why nothing more is written, or empty.
    """

    target: Target
    prompts: tuple[Prompt, ...]
    marks: dict[int, str]
    painted: frozenset[int]
    chosen: frozenset[int]
    written: dict[int, np.ndarray] = field(default_factory=dict)
    found: dict[int, SliceRecord] = field(default_factory=dict)
    protected: set[int] = field(default_factory=set)
    dropped: str = ""

    @classmethod
    def of(cls, controller: Controller, segment_id: str, scan: Scan) -> Course:
        """Prompts and painted slices of a segment."""
        volume, segmentation = controller.volume, controller.segmentation
        collected = collect(segmentation, segment_id, volume, scan.axis)
        target = target_of(controller.generation, volume, segmentation, segment_id, scan, collected.fingerprint)
        state = controller.scribe.state(target)
        marks = prompt_marks(collected.prompts, scan)
        chosen = chosen_seeds(state, marks)
        protect = not controller.overwrite_painted
        painted = painted_on(target) if protect and controller.painted_as_seeds else set()
        own = painted_seeds(target, painted)
        prompts = (*state.seeds, *collected.prompts, *chosen, *own)
        return cls(target, prompts, marks, frozenset(painted), frozenset(one.slice for one in chosen))


class PropagationTask(Task):
    """Walks from the prompts of one or several segments; written in batches, undone in one step."""

    def __init__(
        self, controller: Controller, scan: Scan, courses: Iterable[Course], direction: str,
        limits: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        self.courses = {course.target.key: course for course in courses}
        self._settings = {**controller.settings.to_json(), "direction": direction, "limits": limits and list(limits)}
        request = PropagateRequest(
            scan, controller.model, {key: course.prompts for key, course in self.courses.items()},
            replace(controller.settings, limits=None), direction, limits, engine=controller.engine,
        )  # fmt: skip
        super().__init__(controller, controller.host.propagate, request)
        self._joined: set[Any] = set()

    @classmethod
    def prepare(
        cls, controller: Controller, segment_ids: list[str], direction: str, limits: tuple[int, int] | None
    ) -> PropagationTask:
        """Read prompts and painted slices of the segments.

        Raises:
            InputError: ``volume.*``, ``segment.*``. PromptError: ``prompt.none``.
        """
        scan = scan_of(controller.volume, controller.axis, controller.window)
        courses = [Course.of(controller, segment_id, scan) for segment_id in dict.fromkeys(segment_ids)]
        courses = [course for course in courses if course.prompts]
        if not courses:
            raise PromptError(
                "prompt.none",
                _("Expected a point, box, scribble or painted slice of the segment; got none. Place one first."),
            )
        keys = {course.target.key for course in courses}
        for task in controller.board.tasks:  # the propagation answers these prompts too
            if isinstance(task, LiveTask) and task.target.key in keys:
                controller.board.drop(task)
        return cls(controller, scan, courses, direction, limits)

    def concerns(self, node: Any) -> bool:
        """True for the image and the segmentation."""
        return any(node in (one.target.volume, one.target.segmentation) for one in self.courses.values())

    def look(self) -> None:
        """Write what has been decided since the last look, in one go."""
        news: dict[str, dict[int, np.ndarray]] = {}
        for told in self.job.told():
            if isinstance(told, Foretold):
                self.controller.listeners.tell("estimate", told.cost)
                continue
            course = self.courses[told.name]
            for index, (record, mask) in told.slices.items():
                course.found[index] = record
                if mask is not None and index not in course.painted:
                    news.setdefault(told.name, {})[index] = mask
        for key, masks in news.items():
            course = self.courses[key]
            if self._wanted(course):
                self._write(course, masks)
            if not course.dropped:
                self.controller.scribe.state(course.target).records.update(_shown(course, course.found))
                self.controller.changed(course.target)
        if all(course.dropped for course in self.courses.values()):
            self.job.cancel()

    def done(self, result: PropagateResult) -> None:
        """Write the rest, take away what an earlier propagation left where this one has ended, and tell."""
        self.look()
        for key, propagation in result.results.items():
            course = self.courses[key]
            if self._wanted(course):
                self._finish(course, propagation, result)
        for key, error in result.errors.items():
            name = self.courses[key].target.segment.GetName()
            words = _("{name}: {what}").format(name=name, what=said(error))
            self.controller.listeners.tell("error", type(error)(error.code, words))
        kept = {key: one for key, one in self.courses.items() if not one.dropped and key in result.results}
        if kept:
            self._tell(kept, result)

    def failed(self, error: SegmentAnythingMedError) -> None:
        """What was written before stays, as a step that can be undone."""
        self.look()
        if isinstance(error, Cancelled):
            if not any(course.dropped for course in self.courses.values()):
                self.controller.listeners.tell("status", _("Cancelled."))
            return
        super().failed(error)

    def _wanted(self, course: Course) -> bool:
        """False when its place is gone or its prompts have changed; said once."""
        if course.dropped:
            return False
        course.dropped = course.target.fault(self.controller.generation)
        if not course.dropped and prompts_of(course.target) != course.target.fingerprint:
            course.dropped = _("its prompts have changed")
        if course.dropped:
            self.controller.listeners.tell(
                "dropped",
                _("The propagation was ended, nothing more is written: {dropped}.").format(dropped=course.dropped),
            )
        return not course.dropped

    def _write(self, course: Course, masks: dict[int, np.ndarray]) -> None:
        """Hand masks to the writer; what it refuses once (a segment set to Completed), it would refuse again."""
        controller, target = self.controller, course.target
        try:
            written = controller.scribe.write(
                target, masks, overwrite_painted=controller.overwrite_painted, join=target.segmentation in self._joined
            )
        except SegmentAnythingMedError as error:
            course.dropped = _("the segment cannot be written to")
            controller.listeners.tell("error", error)
            return
        if written.voxels_changed:
            self._joined.add(target.segmentation)
        course.written.update(masks)
        course.protected.update(written.slices_protected)

    def _finish(self, course: Course, propagation: Propagation, result: PropagateResult) -> None:
        controller, target, key = self.controller, course.target, course.target.key
        low, high = result.scopes[key]
        masks = {
            index: mask
            for index, mask in propagation.masks.items()
            if index not in course.painted and course.written.get(index) is not mask
        }
        state = controller.scribe.state(target)
        if propagation.completed:
            empty = np.zeros(result.shape, dtype=bool)
            ended = controller.scribe.ours(target) - set(propagation.masks) - course.painted
            masks.update({index: empty for index in ended if low <= index <= high})
            state.records = {n: record for n, record in state.records.items() if not low <= n <= high}
        if masks:
            self._write(course, masks)
        if course.dropped:
            return
        state.records.update(_shown(course, propagation.records))
        state.marks.update({n: mark for n, mark in course.marks.items() if n in propagation.records})
        course.found = dict(propagation.records)
        ends = {name: getattr(propagation, name) for name in ("lower", "upper", "end_lower", "end_upper", "completed")}
        controller.scribe.describe(target, result.facts, course.prompts, self._settings, ends, propagation.notes)
        controller.changed(target)

    def _tell(self, kept: dict[str, Course], result: PropagateResult) -> None:
        found = {key: result.results[key] for key in kept}
        notes = [*result.facts.notes]
        for key, one in found.items():
            name = kept[key].target.segment.GetName()
            notes += [note if len(kept) == 1 else f"{name}: {said(note)}" for note in one.notes]
        self.controller.listeners.tell("model", result.facts)
        self.controller.listeners.tell(
            "propagated",
            Propagated(
                axis=result.axis,
                slices={one.target.segment_id: tuple(sorted(found[key].masks)) for key, one in kept.items()},
                protected={one.target.segment_id: tuple(sorted(one.protected)) for one in kept.values()},
                ends={one.target.segment_id: (found[key].end_lower, found[key].end_upper) for key, one in kept.items()},
                completed=all(one.completed for one in found.values()),
                notes=tuple(dict.fromkeys(notes)),
                encodes=result.encodes,
                seconds=self.job.seconds,
            ),
        )


def _shown(course: Course, found: dict[int, SliceRecord]) -> dict[int, SliceRecord]:
    """Records for the table: a chosen candidate came from the user's prompts, it was not drawn."""
    return {
        index: replace(record, reason=records.SEED, note="candidate chosen by the user")
        if index in course.chosen and record.reason == records.DRAWN
        else record
        for index, record in found.items()
    }
