"""What ``adapt`` was asked for, checked as far as that goes without reading anything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .outputs import Outputs
from .structure_outputs import DICOM_KINDS, NIFTI, parse_names, parse_write

METHODS = (
    "p2sam", "persam", "persam-f", "matcher", "panet", "label-propagation", "direct", "copy", "gf-sam", "registration",
)  # fmt: skip
PROTOCOLS = ("default", "published")
TRANSFORMS = ("auto", "none")
STEM = "structures"
"""Results in the output folder: structures.nii.gz, structures.rtstruct.dcm, structures.seg.dcm."""


@dataclass(frozen=True)
class AdaptRequest:
    """One job.

    Attributes:
        prior, prior_mask, follow_up: image of the prior visit, its structures, today's image.
        folder: where results go; made when it is missing.
        structures: names or numbers wanted; None for all.
        transform: ``auto``, ``none`` or a file.
        method, protocol: of the segmentation.
        write: kinds of files, see :mod:`.structure_outputs`.
        report: JSON file; ``report.json`` in the folder unless told otherwise.
        figure: PNG file or None.
        allow: codes of findings that are accepted.
        policy: structure -> which mask is offered; ``""`` for all others.
    """

    prior: Path
    prior_mask: Path
    follow_up: Path
    folder: Path
    structures: tuple[str, ...] | None = None
    transform: str | Path = "auto"
    method: str = "p2sam"
    protocol: str = "default"
    write: tuple[str, ...] = (NIFTI,)
    report: Path | None = None
    figure: Path | None = None
    allow: tuple[str, ...] = ()
    policy: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, options: argparse.Namespace) -> AdaptRequest:
        """From the options of the command line.

        Raises:
            InputError: ``option.*``.
        """
        transform = options.transform.strip()
        return cls(
            prior=Path(options.prior),
            prior_mask=Path(options.prior_mask),
            follow_up=Path(options.follow_up),
            folder=Path(options.output),
            structures=parse_names(options.structures),
            transform=transform if transform in TRANSFORMS else Path(transform),
            method=_one_of("method", options.method, METHODS),
            protocol=_one_of("protocol", options.protocol, PROTOCOLS),
            write=parse_write(options.write),
            report=Path(options.report) if options.report else None,
            figure=Path(options.figure) if options.figure else None,
            allow=tuple(part.strip() for part in (options.allow or "").split(",") if part.strip()),
            policy=parse_policy(options.policy),
        )

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Everything that is read."""
        given = (self.prior, self.prior_mask, self.follow_up)
        return given if isinstance(self.transform, str) else (*given, self.transform)

    @property
    def outputs(self) -> Outputs:
        """Everything that may be written."""
        dicom = {kind: self.folder / f"{STEM}.{kind}.dcm" for kind in DICOM_KINDS if kind in self.write}
        mask = self.folder / f"{STEM}.nii.gz" if NIFTI in self.write else None
        return Outputs(mask, self.report or self.folder / "report.json", self.figure, **dicom)

    def check_folder(self) -> None:
        """Refuse, before any work, a folder that cannot be made or that holds an input.

        Raises:
            InputError: ``output.not_a_folder``, ``output.folder``, ``output.is_input``.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError("output.not_a_folder", f"Expected a folder for the results; {self.folder.name} is a file.")
        if not self.folder.exists() and not self.folder.absolute().parent.is_dir():
            raise InputError("output.folder", f"The folder around {self.folder.name} does not exist; create it first.")
        target = self.folder.resolve()
        for path in self.inputs:
            if path.is_dir() and (target == path.resolve() or path.resolve() in target.parents):
                raise InputError(
                    "output.is_input",
                    f"{self.folder.name or 'The output'} is a folder of images that are read; choose another for the "
                    "results.",
                )


def parse_policy(texts: Sequence[str] | None) -> dict[str, str]:
    """``warped`` for all structures, ``Cord=warped`` for one.

    Raises:
        InputError: ``option.policy``.
    """
    from ..adaptive.visit_settings import POLICIES

    found: dict[str, str] = {}
    for text in texts or ():
        name, separator, policy = text.rpartition("=")
        if policy.strip() not in POLICIES or (separator and not name.strip()):
            raise InputError("option.policy", f"Expected {', '.join(POLICIES)}, alone or as NAME=...; got {text!r}.")
        found[name.strip()] = policy.strip()
    return found


def _one_of(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise InputError(f"option.{option}", f"Expected one of {', '.join(known)} for {option}; got {value!r}.")
    return value
