"""One object's propagation in which projected prompts and memory compete for every slice."""

from __future__ import annotations

from .competing import compete_outward
from .competing_gap import compete_gap
from .memory_job import MemoryJob


class CompetingJob(MemoryJob):
    """The work on one object; see :class:`~SegmentAnythingMedLib.propagation.memory_job.MemoryJob`.

    Seeds, corrections, stop marks and what an edit does again are those of the memory engine.
    """

    outward = staticmethod(compete_outward)
    gap = staticmethod(compete_gap)
    questions = 3  # from memory, from the projected prompt, and what to remember of the winner
