"""Options of ``adapt``, and those that every command with a model shares."""

from __future__ import annotations

import argparse


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model, where, and output for machines."""
    parser.add_argument("--model", default="built-in", metavar="NAME|PATH", help="see the command models")
    parser.add_argument("--family", metavar="NAME", help="of a checkpoint whose tensors do not tell it, e.g. medsam")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="where the model runs")
    parser.add_argument("--json", action="store_true", help="for machines")


def add_adapt(commands: argparse._SubParsersAction) -> None:
    """The command ``adapt``."""
    parser = commands.add_parser("adapt", help="contours of a prior visit to today's image", allow_abbrev=False)
    visits = parser.add_argument_group("visits")
    visits.add_argument(
        "--prior", required=True, metavar="IMAGE", help="image of the prior visit: file or DICOM folder"
    )
    visits.add_argument(
        "--prior-mask", required=True, metavar="FILE", help="its structures: RTSTRUCT, DICOM SEG or an image of labels"
    )
    visits.add_argument("--follow-up", required=True, metavar="IMAGE", help="today's image")
    visits.add_argument("--structures", metavar="NAME,...", help="names or numbers (default: all)")
    visits.add_argument("--prior-series", metavar="UID", help="DICOM series of the prior, when there are several")
    visits.add_argument("--series", metavar="UID", help="DICOM series of the follow-up, when there are several")
    visits.add_argument("--allow-gaps", action="store_true", help="interpolate missing DICOM slices")
    visits.add_argument(
        "--allow", metavar="CODE,...", help="go on although a check of the visits failed; recorded in the report"
    )
    results = parser.add_argument_group("results")
    results.add_argument("--output", required=True, metavar="DIR", help="folder of the results, made when missing")
    results.add_argument(
        "--write",
        default="nifti",
        metavar="nifti,rtstruct,seg",
        help="files of the drafts; DICOM for a DICOM follow-up",
    )
    results.add_argument("--report", metavar="R.json", help="default: report.json in the folder")
    results.add_argument("--figure", metavar="F.png", help="both visits side by side, with contours and flags")
    how = parser.add_argument_group("method")
    how.add_argument(
        "--transform",
        default="auto",
        metavar="auto|none|FILE",
        help="auto: register; none: equal places; FILE: .tfm, .h5 or DICOM REG, follow-up to prior",
    )
    how.add_argument("--method", default="p2sam", metavar="NAME", help="p2sam, registration, copy, persam, matcher...")
    how.add_argument("--protocol", default="default", metavar="default|published", help="published: slice by slice")
    how.add_argument(
        "--policy",
        action="append",
        metavar="[NAME=]segmented|warped",
        help="which mask is offered, for all structures or one; repeatable",
    )
    how.add_argument("--axis", default="auto", metavar="i|j|k|auto", help="of the follow-up's slices")
    how.add_argument("--window", default="auto", metavar="LEVEL,WIDTH|PRESET|auto", help="intensities of both visits")
    how.add_argument(
        "--cache",
        metavar="DIR",
        help="keep what the prior tells of its structures for another job",
    )
    add_model_options(parser)
