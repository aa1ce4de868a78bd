"""The command line: ``segment-anything-med segment|adapt|evaluate|info|models``.

Exit codes: 0 done (also after one ``^C``, when what was finished is saved); 2 something about the input, one line on
standard error: ``error: <code>: <sentence>``; 1 our fault; 130 stopped by a second ``^C``, nothing written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import Cancelled, InputError, SegmentAnythingMedError
from .adapt_options import add_adapt, add_model_options
from .arguments import join_negative_numbers
from .installation import broken_package
from .model_commands import add_models
from .terminal import say

OURS = {"model.nan", "session.closed", "device.lost"}
"""Codes of errors that no other input would avoid."""
DONE, OUR_FAULT, USERS_INPUT, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """Reports mistakes as the rest of the program does."""

    def error(self, message: str) -> NoReturn:
        """Raise ``option.usage``."""
        raise InputError("option.usage", f"{message}; see {self.prog} --help.")


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="segment-anything-med", description="Promptable segmentation of medical images.")
    parser.add_argument("--version", action="version", version=f"segment-anything-med {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="segment | adapt | evaluate | info | models"
    )
    _add_segment(commands)
    add_adapt(commands)
    _add_evaluate(commands)
    _add_info(commands)
    add_models(commands)
    return parser


def _add_segment(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("segment", help="prompts to a mask of the whole volume", allow_abbrev=False)
    _add_image(parser)
    parser.add_argument("--output", required=True, metavar="OUT", help="mask: .nii, .nii.gz, .nrrd or .mha")
    parser.add_argument(
        "--write",
        default="nifti",
        metavar="nifti,rtstruct,seg",
        help="nifti: OUT itself; rtstruct, seg: DICOM beside it, OUT.rtstruct.dcm and OUT.seg.dcm, for a DICOM image",
    )
    parser.add_argument("--report", metavar="R.json", help="what was done and why, slice by slice")
    parser.add_argument("--figure", metavar="F.png", help="slices with outlines, prompts and reasons")
    prompts = parser.add_argument_group("prompts")
    prompts.add_argument("--point", action="append", default=[], metavar="I,J,K[,0|1]", help="inside 1, outside 0")
    prompts.add_argument(
        "--box",
        action="append",
        default=[],
        metavar="I0,J0,I1,J1,K",
        help="corner voxels, inclusive, then the slice; on axis j I0,K0,I1,K1,J; on axis i J0,K0,J1,K1,I; "
        "with --space lps or ras two corners X0,Y0,Z0,X1,Y1,Z1",
    )
    prompts.add_argument(
        "--mask", metavar="SEED", help="drawn slices, kept as they are: an image of labels, RTSTRUCT or DICOM SEG"
    )
    prompts.add_argument("--structures", metavar="NAME,...", help="of --mask: names or numbers (default: all)")
    prompts.add_argument("--prompts", metavar="PROMPTS.json", help="all kinds of prompts, several objects")
    prompts.add_argument("--space", default="ijk", metavar="ijk|lps|ras", help="of points and boxes (default: ijk)")
    walk = parser.add_argument_group("propagation")
    walk.add_argument("--no-propagate", action="store_true", help="segment the prompted slices only")
    walk.add_argument("--engine", default="auto", metavar="auto|prompt|memory", help="auto: memory for SAM 2 models")
    walk.add_argument("--iou-threshold", default="0.5", metavar="0..1", help="stop where neighbours agree less")
    walk.add_argument("--projection", default="mask", help="mask, box, points, points_and_mask, single_point, a+b")
    walk.add_argument("--limits", metavar="LO,HI", help="first and last slice that may be touched")
    parser.add_argument("--seed", metavar="N", help="of random numbers; also forbids non-repeatable GPU algorithms")


def _add_info(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("info", help="what an image is, what would be done, cost", allow_abbrev=False)
    _add_image(parser)


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="DICOM folder or file, NIfTI, NRRD, MetaImage, picture")
    parser.add_argument("--axis", default="auto", metavar="i|j|k|auto", help="of the slices (default: largest spacing)")
    parser.add_argument("--window", default="auto", metavar="LEVEL,WIDTH|PRESET|auto", help="intensities")
    parser.add_argument("--series", metavar="UID", help="DICOM series, when there are several")
    parser.add_argument("--allow-gaps", action="store_true", help="interpolate missing DICOM slices")
    add_model_options(parser)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("evaluate", help="compare a mask with a reference", allow_abbrev=False)
    parser.add_argument("prediction", metavar="PRED", help="image of labels, RTSTRUCT or DICOM SEG")
    parser.add_argument("reference", metavar="REF", help="the same")
    parser.add_argument("--label", metavar="N", help="compare this label only")
    parser.add_argument("--structure", metavar="NAME", help="compare this structure only, by name or number")
    parser.add_argument("--image", metavar="IMAGE", help="whose grid is compared on, when both are DICOM structures")
    parser.add_argument("--json", action="store_true", help="for machines")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    # Idle threads of OpenMP spin by default. Beside any other busy process a small network then takes 15 times as long
    # (measured: 640 in place of 31 ms a slice). It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter must not end the program
            stream.reconfigure(errors="replace")
    try:
        options = make_parser().parse_args(join_negative_numbers(given))
        return _run(options)
    except SegmentAnythingMedError as error:
        _report(error, as_json="--json" in given)
        if isinstance(error, Cancelled):
            return INTERRUPTED
        return OUR_FAULT if error.code in OURS else USERS_INPUT
    except KeyboardInterrupt:
        _report(Cancelled("Stopped; nothing was written."), as_json=False)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    try:
        from . import commands  # after the options are known to be right: it takes a moment

        return getattr(commands, options.command)(options) or DONE
    except (ImportError, OSError) as error:
        broken = broken_package(error)
        if broken is None:
            raise
        raise broken from None


def _report(error: SegmentAnythingMedError, as_json: bool) -> None:
    say(f"error: {error.code}: {error.message}")
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
