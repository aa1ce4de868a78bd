"""``models list|download|import|remove|verify``: the checkpoints on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import Cancelled, DownloadError
from ..models.downloads import Fetched, download_model, part_of
from ..models.entries import CatalogEntry, all_entries, find_entry, model_folder, need_entry, registered
from ..models.licences import is_accepted, licence_text
from ..models.records import expected_sha256
from ..models.stored import import_model, remove_model, verify_models
from ..progress import Progress
from .terminal import ProgressBar, cancel_on_interrupt, say

_SHOWN = (
    "name", "family", "variant", "licence", "research_only", "source", "urls", "description", "good_for",
    "preprocessing", "citation", "note", "file_name", "sha256", "sha256_from", "parameters", "registered",
)  # fmt: skip
_FACTS = ("family", "variant", "preprocessing", "image_size", "licence", "source", "url", "description", "citation")


def add_models(commands: argparse._SubParsersAction) -> None:
    """Add the command ``models`` and its own commands to the parser."""
    models = commands.add_parser(
        "models", help="checkpoints: list, download, import, remove, verify", allow_abbrev=False
    )  # fmt: skip
    models.add_argument("--json", action="store_true", help="for machines")
    models.set_defaults(action="list")
    actions = models.add_subparsers(dest="action", metavar="list | download | import | remove | verify")
    listed = _add(actions, "list", "what there is, licence, size, what is here (the default)")
    listed.add_argument("name", metavar="NAME", nargs="?", help="all about one model")
    download = _add(actions, "download", "fetch the weights of a model; goes on where an earlier try stopped")
    download.add_argument("name", metavar="NAME", help="see models list")
    download.add_argument("--accept-licence", action="store_true", help="the licence that list shows is accepted")
    download.add_argument(
        "--accept-change", action="store_true", help="take another file than the one first seen under this name"
    )
    download.add_argument("--offline", action="store_true", help="never use the network")
    taken = _add(actions, "import", "take a weights file from this machine's disks")
    taken.add_argument("file", metavar="FILE", help="safetensors or PyTorch file; it is left as it is")
    taken.add_argument("--as", dest="name", metavar="NAME", help="what it is, where its hash does not tell")
    taken.add_argument("--link", action="store_true", help="make a link in place of a copy")
    taken.add_argument(
        "--accept-change", action="store_true", help="take another file than the one first seen under this name"
    )
    for fact in _FACTS:
        option = f"--{fact.replace('_', '-')}"
        taken.add_argument(option, metavar=fact.upper(), help="for a model that is not in the list")
    _add(actions, "remove", "delete what was downloaded or imported").add_argument("name", metavar="NAME")
    verify = _add(actions, "verify", "read the files again and compare their hashes")
    verify.add_argument("names", metavar="NAME", nargs="*", help="default: all that are here")


def _add(actions: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    # without a default: that of a sub-command would overwrite what was given before it
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")
    return parser


def run_models(options: argparse.Namespace) -> int:
    """Run the action of ``models`` that was asked for; 0, or 2 when ``verify`` found a file that is not right."""
    return _ACTIONS[options.action or "list"](options) or 0


def _list(options: argparse.Namespace) -> None:
    problems = registered()[1]
    for problem in problems:
        say(f"warning: {problem}")
    name = getattr(options, "name", None)
    entries = all_entries() if name is None else [need_entry(name)]
    if options.json:
        rows = [
            {**{key: getattr(entry, key) for key in _SHOWN}, "available": entry.available, "bytes": entry.stored_bytes}
            for entry in entries
        ]
        _print_json({"folder": str(model_folder()), "models": rows, "warnings": problems})
        return
    if name is not None:
        _describe(entries[0])
        return
    for entry in entries:
        print(f"{entry.name:26}{_state(entry):12}{_size(entry):>9}  {entry.family} {entry.variant}, {_licence(entry)}")
        print(f"{'':26}{entry.description}")
    stored = sum(entry.stored_bytes or 0 for entry in entries if entry.available and entry.file_name)
    print(f"In {model_folder()}: {stored / 1e6:.0f} MB. Any other file can be given by its path.")


def _describe(entry: CatalogEntry) -> None:
    lines = {
        "model": f"{entry.name} ({_state(entry)})",
        "what": f"{entry.description} {entry.good_for}",
        "licence": f"{_licence(entry)}. {entry.note}",
        "preparation": entry.preprocessing,
        "cite": entry.citation,
        "from": " ".join((entry.source, *entry.urls)),
        "file": "" if entry.path is None else f"{entry.path}, {_size(entry)}",
        "SHA-256": expected_sha256(entry) or "not known: the first file seen sets it",
    }
    for label, text in lines.items():
        if text.strip():
            print(f"{label:13}{text.strip()}")


def _state(entry: CatalogEntry) -> str:
    if entry.available:
        return "available"
    return "unfinished" if entry.file_name and part_of(entry).exists() else "not here"


def _size(entry: CatalogEntry) -> str:
    return "? MB" if entry.stored_bytes is None else f"{entry.stored_bytes / 1e6:.0f} MB"


def _licence(entry: CatalogEntry) -> str:
    licence = "licence unknown" if entry.licence == "unknown" else entry.licence
    return f"{licence}, research only" if entry.research_only else licence


def _download(options: argparse.Namespace) -> None:
    accepted = options.accept_licence
    entry = find_entry(options.name)
    if entry is not None and not accepted and not entry.available and not is_accepted(entry) and not options.json:
        accepted = _ask(entry)
    with _shown_progress("what has arrived is kept, and the same command goes on from there") as progress:
        got = download_model(
            options.name,
            accept_licence=accepted,
            accept_change=options.accept_change,
            offline=options.offline or None,
            progress=progress,
        )
    _tell(got, options.json, "downloaded" if got.fetched else "was here already")


def _ask(entry: CatalogEntry) -> bool:
    """Ask a person at a terminal about the licence; False where nobody sits there: the refusal then says what to do."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(licence_text(entry))
    sys.stderr.write("Do you accept it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DownloadError(
            "licence.not_accepted", f"The licence of {entry.name} was not accepted; nothing was fetched."
        )
    return True


def _import(options: argparse.Namespace) -> None:
    facts = {fact: getattr(options, fact) for fact in _FACTS if getattr(options, fact)}
    with _shown_progress("nothing was taken") as progress:
        got = import_model(
            options.file,
            options.name,
            facts=facts,
            link=options.link,
            accept_change=options.accept_change,
            progress=progress,
        )
    _tell(got, options.json, "imported" if got.fetched else "was here already")


def _remove(options: argparse.Namespace) -> None:
    path = remove_model(options.name)
    if options.json:
        _print_json({"name": options.name, "removed": str(path)})
        return
    print(f"{options.name}: removed {path}")


def _verify(options: argparse.Namespace) -> int:
    with _shown_progress("nothing was changed") as progress:
        verdicts = verify_models(options.names, progress)
    bad = [verdict.name for verdict in verdicts if verdict.state in ("changed", "missing")]
    if options.json:
        _print_json({"ok": not bad, "models": [{**vars(verdict), "path": str(verdict.path)} for verdict in verdicts]})
    else:
        for verdict in verdicts:
            print(f"{verdict.name:26}{verdict.state:12}{verdict.found or ''}")
        if not verdicts:
            print(f"There are no checkpoints in {model_folder()}.")
    if bad:
        say(
            f"error: checkpoint.sha256: Not what they should be: {', '.join(bad)}. The files were left as they are; "
            "remove them, then download them again."
        )
    return 2 if bad else 0


_ACTIONS = {"list": _list, "download": _download, "import": _import, "remove": _remove, "verify": _verify}


@contextmanager
def _shown_progress(after_a_cancel: str) -> Iterator[Progress]:
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        with cancel_on_interrupt(progress):
            try:
                yield progress
            except Cancelled:
                raise Cancelled(f"Stopped; {after_a_cancel}.") from None


def _tell(got: Fetched, as_json: bool, what: str) -> None:
    if as_json:
        _print_json({**vars(got), "path": str(got.path)})
        return
    print(f"{got.name}: {what}, {got.path.stat().st_size / 1e6:.1f} MB, {got.path}")
    print(f"SHA-256 {got.sha256 or 'not known'} ({_POLICIES[got.policy]})")


_POLICIES = {
    "published": "the one that it should have",
    "first-seen": "first seen here; another file under this name will be refused",
    "unverified": "placed by hand, nothing known to compare with",
}


def _print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
