"""Where memory is short, work goes on with less of it, step by step, before it is given up.

Smaller batches and half precision come first; where the encoder itself is told by PyTorch, it does so on its own
(:func:`~SegmentAnythingMedLib.models.encoding.run_encoder`). What is left is done here: no slices encoded ahead, fewer
features in memory, then the CPU in place of the GPU, then an error with numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import DeviceError, is_lack_of_memory, is_lost_device
from ..files.limits import free_memory, machine_memory
from ..models.moving import move_to_cpu

if TYPE_CHECKING:
    from .session import Session

Found = TypeVar("Found")
ONE_BY_ONE = "Memory was short: slices are no longer encoded ahead, but one by one, which can take longer."
FEWER = "Memory was short: fewer features are kept, which can mean that slices are encoded again."
ON_CPU = "The memory of the GPU was not enough; the rest was computed on the CPU, which takes longer."


class StepDown:
    """Repeats the work of a session with less memory.

    Args:
        session: its cache shrinks, its model may move.

    Attributes:
        notes: what the user should know about steps that were taken.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._busy = False
        self.notes: list[str] = []

    def run(self, work: Callable[[], Found]) -> Found:
        """The result of ``work``, which must be repeatable.

        Raises:
            DeviceError: ``device.memory`` when the last step was not enough either; ``device.lost`` when the GPU is
                gone; nothing is repeated then, since its memory cannot be read any more.
        """
        if self._busy:  # encoding within tracking: the outer work is repeated
            return work()
        self._busy = True
        try:
            return self._repeated(work)
        finally:
            self._busy = False

    def _repeated(self, work: Callable[[], Found]) -> Found:
        model = self._session.model
        steps = [
            *([self._one_by_one] if model.look_ahead else []),
            self._keep_fewer,
            *([self._to_cpu] if model.device != "cpu" else []),
        ]
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError, DeviceError) as error:
                if is_lost_device(error):
                    raise _lost() from None
                if not is_lack_of_memory(error):
                    raise
            # outside of the handler: the exception keeps alive what filled the memory
            if not steps:
                raise _too_little(self._session.model.device)
            steps.pop(0)()

    def _one_by_one(self) -> None:
        self._session.model.look_ahead = 0
        _empty_gpu(self._session.model.device)
        self.told(ONE_BY_ONE)

    def _keep_fewer(self) -> None:
        self._session.cache.shrink()
        _empty_gpu(self._session.model.device)
        self.told(FEWER)

    def _to_cpu(self) -> None:
        device = self._session.model.device
        move_to_cpu(self._session.model)
        _empty_gpu(device)
        self.told(ON_CPU)

    def told(self, text: str) -> None:
        """Note a step that was taken, once."""
        if text not in self.notes:
            self.notes.append(text)


def _empty_gpu(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.empty_cache()


def _too_little(device: str) -> DeviceError:
    sizes = [number / 2**30 for number in (free_memory(), machine_memory()) if number is not None]
    told = f" ({sizes[0]:.1f} of {sizes[1]:.1f} GiB are free)" if len(sizes) == 2 else ""
    return DeviceError(
        "device.memory",
        f"The machine has too little free memory for this model and image{told}, even with few features kept"
        f"{'' if device == 'cpu' else ' and on the CPU'}; close other programs, choose a smaller model, or crop the "
        "image.",
    )


def _lost() -> DeviceError:
    return DeviceError(
        "device.lost",
        "The GPU stopped answering in the middle of the work (it was reset, or its driver failed). Start the program "
        "again; use --device cpu until the GPU is well.",
    )
