"""One error family. Every error carries a stable ``code``; its text says what was expected, what was got, what to do.

Codes are dotted lower-case words, ``area.problem`` (``input.missing``, ``prompt.outside``): programs may rely on them,
sentences may change. Nothing of the user's is changed when one of these is raised.
"""

from __future__ import annotations


class SegmentAnythingMedError(Exception):
    """Base of all errors that this library raises on purpose.

    Args:
        code: stable identifier, ``area.problem``.
        message: one plain sentence for a person; no patient data.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class InputError(SegmentAnythingMedError):
    """A file, folder, image or setting of the user's that cannot be used.

    Codes: ``input.*``, ``output.*``, ``dicom.*``, ``volume.*``, ``option.*``, ``segment.*``.
    """


class PromptError(SegmentAnythingMedError):
    """A prompt that cannot be used (``prompt.*``)."""


class ModelError(SegmentAnythingMedError):
    """A model or checkpoint that cannot be used (``model.*``, ``checkpoint.*``)."""


class DownloadError(SegmentAnythingMedError):
    """A file that could not be fetched (``download.*``) or may not be (``licence.*``)."""


class DeviceError(SegmentAnythingMedError):
    """A device that is missing or out of memory (``device.*``)."""


class InstallError(SegmentAnythingMedError):
    """Something that 3D Slicer or its Python lacks and that could not be installed (``install.*``)."""


class Cancelled(SegmentAnythingMedError):
    """The user cancelled; what was finished before is kept (``cancelled``)."""

    def __init__(self, message: str = "The operation was cancelled; what was finished before is kept.") -> None:
        super().__init__("cancelled", message)


_LACKS = ("out of memory", "can't allocate memory", "not enough memory")
_LOST = ("device-side assert", "unspecified launch failure", "gpu is lost", "illegal memory access", "ecc error")


def is_lack_of_memory(error: BaseException) -> bool:
    """True for an error that says that memory is short: PyTorch has a class of its own for GPUs only."""
    if isinstance(error, SegmentAnythingMedError):
        return error.code == "device.memory"
    text = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in _LACKS))


def is_lost_device(error: BaseException) -> bool:
    """True for an error that says that a GPU, and what lies in its memory, cannot be used any more."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "cuda" in text and any(word in text for word in _LOST)
