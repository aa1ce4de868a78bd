"""An open model to the CPU, when its GPU has too little memory."""

from __future__ import annotations

import inspect

from .interface import PromptableModel

_NETWORKS = ("network", "_network")
_CHOSEN_AGAIN = ("device", "precision", "info", "network")


def move_to_cpu(model: PromptableModel) -> None:
    """Put a model on the CPU, in place: whoever holds it goes on with it, at the CPU's precision.

    The model is made anew around its own network, so that everything that depends on the device is chosen again.

    Args:
        model: of any class whose first two arguments are the network and the ``ModelInfo``.
    """
    network = next(getattr(model, name) for name in _NETWORKS if hasattr(model, name))
    wanted = inspect.signature(type(model)).parameters
    options = {name: getattr(model, name) for name in wanted if name not in _CHOSEN_AGAIN and hasattr(model, name)}
    fresh = type(model)(network, model.info, device="cpu", **options)
    model.__dict__.clear()
    model.__dict__.update(fresh.__dict__)
