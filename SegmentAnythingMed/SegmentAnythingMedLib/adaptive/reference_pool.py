"""What the references say of an object: their tokens together, and the prototypes of its parts, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .one_shot import Reference
from .p2sam_settings import P2SAMSettings
from .parts import part_prototypes
from .tokens import pool_tokens, spread_out
from .views import View


class ReferencePool:
    """Tokens and part prototypes of references; nothing in it depends on a target.

    Args:
        references: at least one.
        settings: token rule, reach, restarts and bound of tokens.

    Attributes:
        references: as given.
        foreground: float32 [N, C], tokens of the object, standardised or raw; no rows when no cell counts as object.
        background: float32 [M, C].
        embedding: float32 [C], mean of the object's raw tokens.
        shown: what a model that uses references makes of them; () for others and under the published protocol.
    """

    def __init__(self, references: Sequence[Reference], settings: P2SAMSettings) -> None:
        self.references = tuple(references)
        rule, reach = settings.token_rule, np.inf if settings.published else settings.reach
        tokens = pool_tokens(references, rule, reach, settings.contrasts)
        most = None if settings.published else settings.most_tokens
        self.foreground = tokens.foreground if most is None else spread_out(tokens.foreground, most)
        self.background = tokens.background if most is None else spread_out(tokens.background, most)
        raw = pool_tokens(references, rule, reach).foreground if settings.contrasts else tokens.foreground
        self.embedding = raw.mean(axis=0) if len(raw) else None
        self.shown = () if settings.published else shown_references(self.references)
        self._k_means = settings.k_means_restarts, "elkan" if settings.published else "lloyd"
        self._prototypes: dict[tuple[bool, int], np.ndarray | None] = {}

    def prototypes(self, count: int, *, background: bool = False) -> np.ndarray | None:
        """Unit prototypes [count, C] of object or background parts; None when there are fewer tokens than parts."""
        key = (background, count)
        if key not in self._prototypes:
            tokens = self.background if background else self.foreground
            self._prototypes[key] = part_prototypes(tokens, count, *self._k_means)
        return self._prototypes[key]

    def same(self, references: Sequence[Reference]) -> bool:
        """True if it was made from these very references."""
        return len(references) == len(self.references) and all(
            one is other for one, other in zip(references, self.references, strict=True)
        )


def other_modality(references: Sequence[Reference], target: View) -> bool:
    """True when the target is known to be of another modality: what the object looked like then misleads a model."""
    known = {one.view.session.volume.modality for one in references}
    return target.session.volume.modality is not None and not known & {None, target.session.volume.modality}


def shown_references(references: Sequence[Reference]) -> tuple[Any, ...]:
    """What a model that uses references makes of them, for ``SlicePrompts.references``; () for other models."""
    model = references[0].view.model
    if not model.uses_references:
        return ()
    made = (model.reference(one.view.features, one.view.show(one.mask)) for one in references)
    return tuple(one for one in made if one is not None)
