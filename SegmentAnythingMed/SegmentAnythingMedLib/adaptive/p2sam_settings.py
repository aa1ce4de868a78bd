"""How P2SAM searches; the published protocol and the robust default."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .distance import distance_named

PROTOCOLS = ("default", "published")
RETRIEVALS = ("cheap", "full")


@dataclass(frozen=True)
class P2SAMSettings:
    """Settings of :class:`~SegmentAnythingMedLib.adaptive.p2sam.P2SAM`.

    Attributes:
        protocol: ``published`` does what the released code does, step for step, faults included; ``default`` counts a
            cell by its area and never loses a small object, leaves padding and far background out, drops points that
            repeat or contradict each other, limits negative points to what the model can use, shows references to
            models that use them, compares tokens that are standardised in each view, looks for places that are like
            the object's part and unlike its background (``contrast``), and reports an empty answer as such.
        natural: the path of photographs (one negative at the least similar place, PerSAM's guidance, best of three
            masks after the first decode) instead of the medical one (negatives from background parts, no guidance).
        positives: smallest and largest number of object parts that are tried; equal numbers fix it (ablation).
        negatives: likewise of background parts; 0 is none. Not used by the natural path.
        distance: which candidate is kept: ``wasserstein`` (published), ``jensen-shannon`` or ``hungarian`` (ablation).
        retrieval: ``full`` runs all three decodes for every candidate (published); ``cheap`` ranks the candidates by
            the mask of the first decode and finishes the best ones. None: full where published, else cheap.
        finalists: candidates that the cheap retrieval finishes; None: 2, and 10 for a model that decodes several
            prompts together for less (``decodes_together``).
        restarts: of k-means; None: 10 where published, else 1 (as scikit-learn has it today).
        reach: background that counts, in longer sides of the object around it (default protocol).
        most_tokens: of either set in a distance; more are thinned evenly (default protocol).
        contrast: compare standardised tokens (``View.standardised``), and take from the likeness to a part that to the
            mean of the other side; None: not where published, else yes. Raw tokens of most encoders have a large part
            in common, and one of another modality yet another, which hide what tells the object from its surroundings.
    """

    protocol: str = "default"
    natural: bool = False
    positives: tuple[int, int] = (1, 3)
    negatives: tuple[int, int] = (1, 1)
    distance: str = "wasserstein"
    retrieval: str | None = None
    finalists: int | None = None
    restarts: int | None = None
    reach: float = 2.0
    most_tokens: int = 1024
    contrast: bool | None = None

    def __post_init__(self) -> None:
        _one_of("protocol", self.protocol, PROTOCOLS)
        if self.retrieval is not None:
            _one_of("retrieval", self.retrieval, RETRIEVALS)
        distance_named(self.distance)
        for name, least, (low, high) in (("positives", 1, self.positives), ("negatives", 0, self.negatives)):
            if not least <= low <= high:
                raise InputError(
                    "option.range",
                    f"Expected {name} as smallest and largest number, {least} or more, got {(low, high)}.",
                )
        if self.finalists == 0 or self.most_tokens < 1:
            raise InputError("option.range", "Expected at least one finalist and one token.")

    @property
    def published(self) -> bool:
        """True for the published protocol."""
        return self.protocol == "published"

    @property
    def token_rule(self) -> str:
        """See ``tokens.foreground_cells``."""
        return "published" if self.published else "area"

    @property
    def contrasts(self) -> bool:
        """True when tokens are standardised and likeness to the other side is taken off."""
        return not self.published if self.contrast is None else self.contrast

    @property
    def cheap(self) -> bool:
        """True when candidates are ranked by their first decode."""
        return self.retrieval == "cheap" or (self.retrieval is None and not self.published)

    @property
    def k_means_restarts(self) -> int:
        """Restarts of k-means."""
        return self.restarts or (10 if self.published else 1)

    def most_finalists(self, together: bool) -> int:
        """Candidates that the cheap retrieval finishes, for a model that decodes several prompts together or not."""
        return self.finalists or (10 if together else 2)

    def counts(self, cap: int | None) -> list[tuple[int, int]]:
        """(positive parts, negative parts) of all candidates, in the order in which they are tried.

        Args:
            cap: negative points that the model can use; None is any number.
        """
        low, high = (0, 0) if self.natural else self.negatives
        negatives = range(low, high + 1)
        if cap is not None and not self.published:
            negatives = sorted({min(count, cap) for count in negatives})
        return [
            (positive, negative)
            for positive in range(self.positives[0], self.positives[1] + 1)
            for negative in negatives
        ]


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"option.{what}", f"Expected the {what} {' or '.join(known)}, got {value!r}.")
