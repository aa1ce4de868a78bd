"""The prior visit, without Qt: propose prompts, let a person change them, write drafts, take the verdict, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ...errors import InputError, SegmentAnythingMedError
from . import review
from .adapting import AdaptAnswer, AdaptRequest, adapt_visits, import_adaptive
from .collecting import scan_of, target_of
from .prompt_nodes import remove_prompts
from .saying import said
from .tasks import Task
from .visit_drafts import REJECTED, VisitRow, new_drafts, row_of, stored_rows, write_draft
from .visit_export import ExportTask
from .visit_inputs import REGISTER, prior_structures, visit_facts, visit_transform
from .visit_prompts import edited, marks, propose
from .volumes import volume_from_node, volume_revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from .controller import Controller
    from .requests import Scan
    from .targets import Target

METHODS = ("p2sam", "registration")


@dataclass(frozen=True, eq=False)
class Proposal:
    """Results that are not written yet, with their prompts in the scene.

    Attributes:
        request: what was asked.
        answer: what came.
        today: today's volume node; ``revision`` of its voxels; ``generation`` of the scene.
        segmentation: of the drafts.
        drafts: structure -> id of its draft.
        marks: structure -> slice -> what its prompts were when they were shown.
    """

    request: AdaptRequest
    answer: AdaptAnswer
    today: Any
    revision: str
    generation: int
    segmentation: Any
    drafts: Mapping[str, str]
    marks: Mapping[str, Mapping[int, str]]


class VisitWork:
    """State of the section Prior visit.

    Args:
        controller: of the module; its worker, model and histories are used.
        before_first_use: called in the main thread before the first job (installation of packages).

    Attributes:
        prior, prior_segmentation: of the earlier visit.
        alignment: ``register``, ``same`` or ``given``; ``transform``: the node for the last.
        method: ``p2sam`` or ``registration``.
        wanted: ids of the prior's segments, or None for all.
        proposal: what waits to be written, or None.
        shown: segmentation whose drafts the table shows, or None.
    """

    def __init__(self, controller: Controller, before_first_use: Callable[[], None] | None = None) -> None:
        self.controller, self._install = controller, before_first_use
        self.prior: Any = None
        self.prior_segmentation: Any = None
        self.alignment, self.transform, self.method = REGISTER, None, METHODS[0]
        self.wanted: set[str] | None = None
        self.proposal: Proposal | None = None
        self.shown: Any = None
        self._rejected: dict[tuple[Any, str], VisitRow] = {}
        self._ready = False

    @property
    def rows(self) -> list[VisitRow]:
        """Lines of the table: of the proposal, else of the drafts that are shown."""
        if self.proposal is not None:
            found = self.proposal.answer.adaptation.structures
            return [row_of(found[name], segment_id) for name, segment_id in self.proposal.drafts.items()]
        rows = stored_rows(self.shown)
        known = {row.segment_id for row in rows}
        gone = [row for (node, _id), row in self._rejected.items() if node is self.shown]
        return [*rows, *(row for row in gone if row.segment_id not in known)]

    def propose(self, allow: frozenset[str] = frozenset()) -> None:
        """Compare the visits in the background; the prompts that would be used are then shown, nothing is written.

        Args:
            allow: codes of findings that the user accepts all the same.

        Raises:
            InputError: ``volume.*``, ``segment.*``, ``visits.*``, ``job.running``. InstallError: ``install.*``.
        """
        self._check_idle()
        today = self.controller.volume
        if today is None:
            raise InputError("volume.missing", _("Expected today's image; choose it in the section Input."))
        found = prior_structures(self.prior_segmentation, self.prior, self.wanted)
        if self.prior is today:
            raise InputError("visits.same_image", _("Expected two images; the prior one is today's. Choose another."))
        scan = scan_of(today, self.controller.axis, "auto")
        request = AdaptRequest(
            volume_from_node(self.prior), found.masks, scan.volume, self.controller.model,
            visit_transform(self.alignment, self.transform, self.prior, today), self.method, axis=scan.axis,
            allow=allow, prior_facts=visit_facts(self.prior), facts=visit_facts(today),
        )  # fmt: skip
        self._prepare()
        self.controller.listeners.tell("status", " ".join(found.notes))
        self.controller.board.start(ProposeTask(self, request, scan, found.segment_ids))

    def segment(self) -> None:
        """Write the drafts; where prompts were changed, the visits are compared again with them first.

        Raises:
            InputError: ``visits.no_proposal``, ``job.running``; of the nodes. PromptError: ``prompt.*``.
        """
        self._check_idle()
        proposal = self._pending()
        scan = scan_of(proposal.today, proposal.answer.adaptation.axis, "auto")
        changed = {}
        for name, segment_id in proposal.drafts.items():
            known = proposal.answer.adaptation.structures[name].prompts
            found = edited(proposal.segmentation, segment_id, proposal.today, scan, proposal.marks[name], known)
            if found:
                changed[name] = found
        if not changed:
            self.write(proposal)
            return
        request = replace(
            proposal.request, prompts=changed, transform=proposal.answer.adaptation.transform, follow_up=scan.volume
        )
        self._prepare()
        self.controller.board.start(SegmentTask(self, proposal, request))

    def write(self, proposal: Proposal) -> None:
        """Put the drafts of a proposal into their segments, in one undo step."""
        scribe, joined = self.controller.scribe, False
        for name in proposal.answer.adaptation.structures:
            target = self._target(proposal, name)
            if self.controller.refuse(target, _("{name} was not written").format(name=name)):
                continue
            joined = write_draft(scribe, target, proposal.answer, name, joined) or joined
            scan = scan_of(target.volume, target.axis, "auto")
            scribe.state(target).marks = marks(target.segmentation, target.segment_id, target.volume, scan)
            scribe.keep_answered(target)
            self.controller.changed(target)
        self.proposal, self.shown = None, proposal.segmentation
        self.controller.listeners.tell("visit")

    def drop(self) -> None:
        """Forget a proposal that is not written, with its empty segments and their prompts."""
        proposal, self.proposal = self.proposal, None
        if proposal is not None and proposal.segmentation.GetScene() is not None:
            for segment_id in proposal.drafts.values():
                remove_prompts(proposal.segmentation, segment_id)
            proposal.segmentation.GetScene().RemoveNode(proposal.segmentation)
        self.controller.listeners.tell("visit")

    def accept(self, segment_id: str, reviewer: str = "") -> None:
        """A person has looked at a draft and takes it.

        Raises:
            InputError: ``segment.*``, ``visits.no_proposal`` before it is written.
        """
        review.accept(self.controller.scribe, self._written(segment_id), reviewer)
        self._tell_verdict(segment_id)

    def reject(self, segment_id: str) -> None:
        """A draft is not wanted: its segment is empty again; one undo step.

        Raises:
            InputError: as :meth:`accept`.
        """
        row = next((row for row in self.rows if row.segment_id == segment_id), None)
        words = review.reject(self.controller.scribe, self._written(segment_id))
        if row is not None:
            self._rejected[self.shown, segment_id] = replace(row, status=REJECTED)
        self.controller.listeners.tell("status", words)
        self._tell_verdict(segment_id)

    def export(self, kind: str, path: Path, series: list[Path]) -> None:
        """Write the drafts as they are in the scene now, as RTSTRUCT or DICOM SEG on today's series.

        Args:
            kind: ``rtstruct`` or ``seg``.
            path: file to write.
            series: files of today's original series, or its folder.

        Raises:
            InputError: ``visits.nothing``, ``job.running``.
        """
        self._check_idle()
        rows = [row for row in stored_rows(self.shown) if row.status]
        self.controller.board.start(
            ExportTask(self.controller, kind, path, series, self.controller.volume, self.shown, rows)
        )

    def scene_closing(self) -> None:
        """The nodes are about to go."""
        self.prior = self.prior_segmentation = self.transform = self.shown = self.proposal = None
        self._rejected.clear()

    def node_removed(self, node: Any) -> None:
        """A node has left the scene."""
        if self.proposal is not None and node in (self.proposal.segmentation, self.proposal.today):
            self.proposal = None
        if node is self.shown:
            self.shown = None
        self._rejected = {key: row for key, row in self._rejected.items() if key[0] is not node}

    def proposed(self, task: ProposeTask, answer: AdaptAnswer) -> None:
        """An answer has come: show its prompts in new, empty draft segments."""
        controller, scan, today = self.controller, task.scan, task.today
        if task.generation != controller.generation or volume_revision(today) != scan.revision:
            controller.listeners.tell("dropped", _("The comparison of the visits was dropped: the image has changed."))
            return
        self.drop()
        structures = answer.adaptation.structures
        kept = {name: task.segment_ids[name] for name in structures}
        node, drafts = new_drafts(task.prior_segmentation, kept, today)
        shown = {}
        for name, segment_id in drafts.items():
            propose(node, segment_id, today, scan, structures[name].prompts)
            shown[name] = marks(node, segment_id, today, scan)
        self.proposal = Proposal(task.request, answer, today, scan.revision, controller.generation, node, drafts, shown)
        self.shown = node
        controller.listeners.tell("visit")
        told = (*(finding.words for finding in answer.adaptation.findings), *answer.adaptation.remarks)
        controller.listeners.tell("status", " ".join(map(said, told)))

    def _prepare(self) -> None:
        self.controller.need_engine()
        if not self._ready:
            if self._install is not None:
                self._install()
            import_adaptive()
            self._ready = True

    @property
    def comparing(self) -> bool:
        """True while the visits are compared, or drafts are exported."""
        return any(isinstance(task, ProposeTask | SegmentTask | ExportTask) for task in self.controller.board.tasks)

    def _check_idle(self) -> None:
        if self.comparing:
            raise InputError("job.running", _("The visits are being compared; wait for the end or cancel it first."))

    def _pending(self) -> Proposal:
        if self.proposal is None:
            raise InputError("visits.no_proposal", _("Expected a proposal; press Find prompts first."))
        return self.proposal

    def _target(self, proposal: Proposal, name: str) -> Target:
        scan = scan_of(proposal.today, proposal.answer.adaptation.axis, "auto")
        target = target_of(proposal.generation, proposal.today, proposal.segmentation, proposal.drafts[name], scan, "")
        return replace(target, revision=proposal.revision)

    def _written(self, segment_id: str) -> Target:
        if self.proposal is not None:
            raise InputError("visits.no_proposal", _("Expected drafts that are written; press Segment first."))
        controller = self.controller
        known = next((row for row in stored_rows(self.shown) if row.segment_id == segment_id), None)
        if known is None or controller.volume is None:
            raise InputError("segment.missing", _("Expected a draft of the table; choose one."))
        scan = scan_of(controller.volume, controller.axis, "auto")
        return target_of(controller.generation, controller.volume, self.shown, segment_id, scan, "")

    def _tell_verdict(self, segment_id: str) -> None:
        listeners = self.controller.listeners
        listeners.tell("undo")
        listeners.tell("records", self.controller.records)
        listeners.tell("visit")


class ProposeTask(Task):
    """Compares the visits; the prompts are shown when it is done."""

    def __init__(self, work: VisitWork, request: AdaptRequest, scan: Scan, segment_ids: Mapping[str, str]) -> None:
        controller = work.controller
        super().__init__(controller, partial(adapt_visits, controller.host), request)
        self.work, self.request, self.scan, self.segment_ids = work, request, scan, segment_ids
        self.today, self.prior, self.prior_segmentation = controller.volume, work.prior, work.prior_segmentation
        self.generation = controller.generation

    def concerns(self, node: Any) -> bool:
        """True for both images and the prior's segmentation."""
        return node in (self.today, self.prior, self.prior_segmentation)

    def done(self, result: AdaptAnswer) -> None:
        """Show the proposal."""
        if not result.adaptation.completed:
            self.controller.listeners.tell("status", _("Cancelled; the structures that were finished are shown."))
        self.work.proposed(self, result)

    def failed(self, error: SegmentAnythingMedError) -> None:
        """Tell why."""
        super().failed(error)
        self.controller.listeners.tell("visit")


class SegmentTask(Task):
    """Compares the visits again, with the prompts of a person on some slices, and writes."""

    def __init__(self, work: VisitWork, proposal: Proposal, request: AdaptRequest) -> None:
        super().__init__(work.controller, partial(adapt_visits, work.controller.host), request)
        self.work, self.proposal = work, proposal

    def concerns(self, node: Any) -> bool:
        """True for today's image and the drafts."""
        return node in (self.proposal.today, self.proposal.segmentation)

    def done(self, result: AdaptAnswer) -> None:
        """Write what was finished."""
        self.work.write(replace(self.proposal, answer=result, request=self.arguments[0]))
