"""Many cases one after the other: what becomes of each, and a table of all."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Cancelled, InputError, SegmentAnythingMedError
from ...files.atomic import write_bytes
from ...progress import Progress
from .worker import as_library_error

if TYPE_CHECKING:
    from ..pipelines import Segmentation

DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
_KEYS = {"volume", "prompts", "name", "segmentation", "segment", "output"}


@dataclass(frozen=True)
class ObjectSummary:
    """One object of a case: its volume, how many slices have it, and why it ends at the lower and upper side."""

    millilitres: float
    slices: int
    lower: int | None
    upper: int | None
    end_lower: str
    end_upper: str


@dataclass(frozen=True, eq=False)
class CaseResult:
    """What became of one case; holds no voxels, so that hundreds fit.

    Attributes:
        name: of the case; by default the file's name without folder, or the node's.
        state: ``done``, ``failed`` or ``cancelled`` (what had been done is there then, see ``objects``).
        error: why it failed, or None.
        seconds: that it took.
        objects: object -> summary.
        segmentation: node with the result, of a case from the scene.
        segment_ids: object -> id of its segment.
        output: file with the mask, of a case from files, or None.
        notes: everything the user should know.
    """

    name: str
    state: str
    error: SegmentAnythingMedError | None = None
    seconds: float = 0.0
    objects: Mapping[str, ObjectSummary] = field(default_factory=dict)
    segmentation: Any = None
    segment_ids: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Lines of a table: one for each object, or one that says what went wrong."""
        head = {
            "case": self.name,
            "state": self.state,
            "code": "" if self.error is None else self.error.code,
            "message": "" if self.error is None else str(self.error),
            "seconds": round(self.seconds, 3),
        }
        tail = {"notes": " | ".join(self.notes)}
        empty = dict.fromkeys(ObjectSummary.__dataclass_fields__, "")
        if not self.objects:
            return [{**head, "object": "", **empty, **tail}]
        return [{**head, "object": name, **vars(one), **tail} for name, one in self.objects.items()]


def summary_of(result: Segmentation) -> dict[str, ObjectSummary]:
    """Objects of a finished job without their voxels."""
    return {
        name: ObjectSummary(
            round(result.millilitres(name), 4), len(one.masks), one.lower, one.upper, one.end_lower, one.end_upper
        )
        for name, one in result.results.items()
    }


def run_cases(
    cases: Sequence[Any], run: Callable[[Mapping[str, Any], Progress], CaseResult], progress: Progress | None = None
) -> list[CaseResult]:
    """Run all cases; one that fails is in its result, and the next one begins.

    Args:
        cases: see ``console.batch``.
        run: does one.
        progress: counts the cases; after its ``cancel`` the rest is cancelled.
    """
    progress = progress or Progress()
    results: list[CaseResult] = []
    progress.start("Cases", len(cases))
    for number, case in enumerate(cases, 1):
        name, begun, inner = f"case {number}", time.perf_counter(), _CaseProgress(progress)
        try:
            inner.check()
            wish = read_case(case)
            name = wish.get("name") or _name_of(wish["volume"], name)
            done = run({**wish, "name": name}, inner)
        except Cancelled as error:
            done = CaseResult(name, CANCELLED, error, time.perf_counter() - begun)
        except Exception as error:  # noqa: BLE001 - one poisonous case must not end the others; its result says why
            done = CaseResult(name, FAILED, as_library_error(error), time.perf_counter() - begun)
        results.append(done)
        progress.advance()
    return results


def read_case(case: Any) -> dict[str, Any]:
    """A case as a mapping.

    Raises:
        InputError: ``option.case``.
    """
    if isinstance(case, Mapping):
        unknown = sorted(set(case) - _KEYS)
        if unknown or "volume" not in case:
            what = f"got {', '.join(unknown)}" if unknown else "there is no volume"
            raise InputError("option.case", f"Expected a case with volume and {', '.join(sorted(_KEYS))}; {what}.")
        return dict(case)
    if isinstance(case, Sequence) and not isinstance(case, str) and len(case) == 2:
        return {"volume": case[0], "prompts": case[1]}
    raise InputError("option.case", f"Expected a mapping or a pair (volume, prompts) as a case; got {case!r:.60}.")


def write_csv(results: Iterable[CaseResult], path: str | os.PathLike[str]) -> None:
    """A table of all cases in UTF-8; written wholly or not at all.

    Raises:
        InputError: ``output.*`` when it cannot be written.
    """
    rows = [row for result in results for row in result.rows()]
    columns = list(CaseResult("", DONE).rows()[0])
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(Path(path), text.getvalue().encode("utf-8"))


def _name_of(volume: Any, otherwise: str) -> str:
    if isinstance(volume, (str, os.PathLike)):
        return Path(volume).name or otherwise
    return volume.GetName() if hasattr(volume, "GetName") and volume.GetName() else otherwise


class _CaseProgress(Progress):
    """Progress of one case, cancelled with the whole batch; the batch's listener sees whole cases only."""

    def __init__(self, batch: Progress) -> None:
        super().__init__()
        self._batch = batch

    @property
    def cancelled(self) -> bool:
        """True once the batch was cancelled."""
        return self._batch.cancelled
