"""Which engine propagates an object: projected prompts, for any model, or the memory of models that have one."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .memory_settings import MemorySettings
from .settings import PropagationSettings

AUTO, PROMPT, MEMORY = ENGINES = ("auto", "prompt", "memory")


def check_engine(wish: str) -> str:
    """The name of an engine, or ``auto``.

    Raises:
        InputError: ``option.engine``.
    """
    if wish not in ENGINES:
        raise InputError("option.engine", f"Expected the engine {', '.join(ENGINES)}; got {wish!r}.")
    return wish


def choose_engine(predictor: Any, settings: PropagationSettings, wish: str = AUTO) -> str:
    """``prompt`` or ``memory``: what ``auto`` means for a model and settings, and whether the wish can be had.

    ``auto`` is ``memory`` for models that have it, except with settings that only the other engine knows
    (``as_published``).

    Args:
        predictor: model and volume; its optional attribute ``tracker`` is not None for models with memory.
        settings: of the propagation.
        wish: ``auto``, ``prompt`` or ``memory``.

    Raises:
        InputError: ``option.engine`` for an unknown name, for memory of a model that has none, and for settings of the
            other engine.
    """
    able = getattr(predictor, "tracker", None) is not None
    memory_settings = isinstance(settings, MemorySettings)
    if check_engine(wish) == PROMPT or (wish == AUTO and not memory_settings and (not able or settings.as_published)):
        if memory_settings:
            raise InputError(
                "option.engine",
                "Expected settings of the prompt engine (PropagationSettings); got those of the memory engine.",
            )
        return PROMPT
    if not able:
        raise InputError(
            "option.engine",
            "This model has no memory. Choose a SAM 2 or MedSAM2 model, or the engine prompt.",
        )
    return MEMORY
