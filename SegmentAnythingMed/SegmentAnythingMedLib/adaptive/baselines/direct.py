"""Direct transfer: the decoder without any prompt, for weights that were tuned to one kind of object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...prompts.types import Box
from ..one_shot import OneShotResult, Reference, require_references
from ..views import View
from .answers import answer


class DirectTransfer:
    """What the model finds unprompted; the references are not looked at (Zhao et al. 2025, table 1).

    Weights that were not tuned to the object answer with whatever they see first.
    """

    name = "direct"

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """See :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`.

        ``restrict`` and ``box`` say where prompts may lie; there are none here, so both are ignored.

        Raises:
            ModelError: ``model.needs_prompt`` for a model that always needs one (the built-in model).
        """
        require_references(references)
        prediction = target.decode_unprompted()
        iou = float(prediction.predicted_iou[0])
        return answer(target, prediction.logits[0], predicted_iou=iou, decodes=1, avoid=avoid)
