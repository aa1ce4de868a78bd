"""Prompts as they are written on a command line.

--point I,J,K[,0|1]           voxel indices; with --space lps or ras: millimetres
--box I0,J0,I1,J1,K           two corners in the plane, then the slice; the corner voxels belong to the box. The
                              in-plane indices keep the order of I, J, K: on axis j it is I0,K0,I1,K1,J, on axis i
                              J0,K0,J1,K1,I. With --space lps or ras: two corners of three numbers each.
--mask SEED                   every slice on which it has voxels becomes a drawn slice: an image of labels, RTSTRUCT
                              or DICOM SEG
--structures NAME,...         of the mask: which
--prompts PROMPTS.json        all kinds, several objects (prompts/prompts.schema.json)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, PromptError
from ..files.structures import load_structures
from ..prompts.json_form import load_prompts
from ..prompts.volume_prompts import SPACES, BoxPrompt, PointPrompt, Prompt, VolumePrompts, mask_prompts
from ..space.planes import SliceStack
from .structure_outputs import parse_names

OBJECT = "object"
"""Name of the object when there is only one."""
_TAKES_NUMBERS = ("--point", "--box", "--limits", "--window", "--seed", "--iou-threshold", "--label")


@dataclass(frozen=True)
class BoundPrompts:
    """Prompts that fit a volume.

    Attributes:
        prompts: by object.
        notes: what was done to them on the way, for the report.
    """

    prompts: VolumePrompts
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptArguments:
    """The prompts of a command line, checked as far as that goes without the image.

    Attributes:
        points: as prompts.
        boxes: five numbers each in space ijk, six in lps and ras.
        space: of points and boxes.
        mask: file of seed masks, or None.
        structures: names or numbers of those wanted of it; None for all.
        file: JSON file of prompts, or None.
    """

    points: tuple[PointPrompt, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    space: str = "ijk"
    mask: Path | None = None
    file: Path | None = None
    structures: tuple[str, ...] | None = None

    @classmethod
    def parse(
        cls,
        points: Sequence[str] = (),
        boxes: Sequence[str] = (),
        mask: str | None = None,
        file: str | None = None,
        space: str = "ijk",
        structures: str | None = None,
    ) -> PromptArguments:
        """Read what the user typed.

        Raises:
            PromptError: ``prompt.none``, ``prompt.position``, ``prompt.label``, ``prompt.mixed`` (a prompt file beside
                other prompts).
            InputError: ``option.space``, ``option.structures``.
        """
        if space not in SPACES:
            raise InputError("option.space", f"Expected the space ijk, lps or ras; got {space!r}.")
        if not (points or boxes or mask or file):
            raise PromptError("prompt.none", "Expected at least one of --point, --box, --mask and --prompts; got none.")
        if file and (points or boxes or mask):
            raise PromptError(
                "prompt.mixed", "Expected either --prompts or --point, --box and --mask; got both. Put all in the file."
            )
        if structures is not None and not mask:
            raise InputError("option.structures", "--structures chooses structures of --mask, which was not given.")
        return cls(
            tuple(parse_point(text, space) for text in points),
            tuple(parse_box(text, space) for text in boxes),
            space,
            Path(mask) if mask else None,
            Path(file) if file else None,
            parse_names(structures),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        return tuple(path for path in (self.mask, self.file) if path is not None)

    def bind(self, stack: SliceStack) -> BoundPrompts:
        """The prompts on the slices of an image.

        Raises:
            PromptError: ``prompt.json``, ``prompt.mask_empty``, ``prompt.mixed`` (a seed mask of several structures
                beside points or boxes).
            InputError: of the files.
        """
        if self.file is not None:
            loaded = load_prompts(self.file)
            return BoundPrompts(loaded if loaded.size is not None else replace(loaded, size=stack.volume.shape[::-1]))
        single: list[Prompt] = [*(_bound_box(numbers, self.space, stack.axis) for numbers in self.boxes), *self.points]
        objects, notes = ({}, ()) if self.mask is None else _seed_masks(self.mask, stack, self.structures)
        if len(objects) > 1 and single:
            raise PromptError(
                "prompt.mixed",
                f"Expected a seed mask of one label beside points and boxes; {self.mask.name} has {len(objects)}. "
                "Use --prompts to say which prompt belongs to which object, or --structures to choose one.",
            )
        if len(objects) < 2:
            name = next((one for one in objects if not one.startswith("label ")), OBJECT)
            objects = {name: [*(prompt for given in objects.values() for prompt in given), *single]}
        return BoundPrompts(VolumePrompts(objects, stack.volume.shape[::-1]), notes)


def _seed_masks(
    path: Path, stack: SliceStack, names: tuple[str, ...] | None
) -> tuple[dict[str, list[Prompt]], tuple[str, ...]]:
    """Structure -> drawn slices; labels without a name are named after their numbers."""
    loaded = load_structures(path, stack.volume, names)
    found = {name: list(mask_prompts(mask, stack)) for name, mask in loaded.masks.items()}
    if not found:
        detail = "; ".join(f"{one.name}: {one.why}" for one in loaded.structures[:5])
        raise PromptError(
            "prompt.mask_empty",
            f"Expected a mask with at least one voxel; {path.name} "
            + (f"has none ({detail})." if detail else "is empty."),
        )
    return found, loaded.remarks


def parse_point(text: str, space: str = "ijk") -> PointPrompt:
    """``I,J,K`` or ``I,J,K,LABEL`` as a prompt.

    Raises:
        PromptError: ``prompt.position``, ``prompt.label``.
    """
    parts = text.split(",")
    if len(parts) not in (3, 4):
        raise PromptError("prompt.position", f"Expected a point I,J,K or I,J,K,LABEL; got {text!r}.")
    if len(parts) == 4 and parts[3].strip() not in ("0", "1"):
        raise PromptError("prompt.label", f"Expected the label 1 (inside) or 0 (outside) in {text!r}.")
    label = int(parts[3]) if len(parts) == 4 else 1
    return PointPrompt(tuple(_numbers(",".join(parts[:3]), text)), label, space)


def parse_box(text: str, space: str = "ijk") -> tuple[float, ...]:
    """The numbers of a box: five in voxel indices, six (two corners) in patient space.

    Raises:
        PromptError: ``prompt.position``.
    """
    numbers = tuple(_numbers(text, text))
    if space == "ijk" and len(numbers) != 5:
        raise PromptError("prompt.position", f"Expected a box of five numbers, I0,J0,I1,J1,K on axis k; got {text!r}.")
    if space != "ijk" and len(numbers) != 6:
        raise PromptError(
            "prompt.position", f"Expected a box in {space} as two corners X0,Y0,Z0,X1,Y1,Z1 in mm; got {text!r}."
        )
    return numbers


def _bound_box(numbers: tuple[float, ...], space: str, axis: str) -> BoxPrompt:
    return BoxPrompt.in_plane(numbers, axis) if space == "ijk" else BoxPrompt(numbers[:3], numbers[3:], space)


def _numbers(text: str, shown: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) for number in numbers):
        raise PromptError("prompt.position", f"Expected finite numbers with commas between; got {shown!r}.")
    return numbers


def parse_limits(text: str | None) -> tuple[int, int] | None:
    """``LO,HI`` as two slice numbers.

    Raises:
        InputError: ``option.limits``.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.lstrip("+").isdecimal() for part in parts):
        raise InputError("option.limits", f"Expected two slice numbers LO,HI as limits; got {text!r}.")
    return int(parts[0]), int(parts[1])


def parse_number(text: str) -> float | str:
    """A number, or the text itself when it is none: the setting that gets it says what it expected."""
    try:
        return float(text)
    except ValueError:
        return text


def parse_whole(text: str | None, option: str, lowest: int = 0) -> int | None:
    """A whole number of ``lowest`` or more.

    Raises:
        InputError: ``option.<option>``.
    """
    if text is None:
        return None
    if not text.strip().isdecimal() or int(text) < lowest:
        raise InputError(f"option.{option}", f"Expected a whole number of {lowest} or more for {option}; got {text!r}.")
    return int(text)


def join_negative_numbers(arguments: Sequence[str]) -> list[str]:
    """``--point -10,5,3`` as ``--point=-10,5,3``: argparse would take the number for an option."""
    joined: list[str] = []
    for text in arguments:
        negative = (text[:1] == "-" and text[1:2].isdigit()) or text[:2] == "-."
        if joined and joined[-1] in _TAKES_NUMBERS and negative:
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined
