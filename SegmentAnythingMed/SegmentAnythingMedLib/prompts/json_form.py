"""Prompts as JSON (schema: ``prompts.schema.json`` beside this file), for files, reports and other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, PromptError
from ..space.affine import Affine
from .volume_prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
    to_ijk,
)

VERSION = 1
SCHEMA_PATH = Path(__file__).with_name("prompts.schema.json")
MAX_FILE_BYTES = 64 * 2**20
MAX_MASK_PIXELS = 2**28


def load_prompts(path: str | Path) -> VolumePrompts:
    """Read a JSON file of prompts.

    Raises:
        InputError: ``input.missing``, ``input.unreadable``, ``input.too_large``.
        PromptError: as :func:`prompts_from_json`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                "input.too_large", f"Expected a prompt file of at most {MAX_FILE_BYTES >> 20} MiB: {path.name}."
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("input.missing", f"Expected a prompt file; there is no file {path.name}.") from None
    except OSError as error:
        raise InputError("input.unreadable", f"The prompt file {path.name} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise PromptError("prompt.json", f"Expected JSON in UTF-8 in {path.name}; it cannot be parsed.") from None
    return prompts_from_json(content)


def prompts_from_json(content: Mapping[str, Any]) -> VolumePrompts:
    """Prompts from parsed JSON.

    Raises:
        PromptError: ``prompt.json`` with the place of the fault; ``prompt.position``, ``prompt.label``,
            ``prompt.mask`` for values.
        InputError: ``option.space``, ``option.axis``.
    """
    _keys(content, {"version", "objects"}, {"size", "space"}, "the top level")
    if content["version"] != VERSION:
        raise PromptError("prompt.json", f"Expected version {VERSION}; got {content['version']!r}.")
    space = content.get("space", "ijk")
    size = content.get("size")
    if size is not None:
        _want(_whole_numbers(size, 3), "size", "three voxel counts", size)
    objects: dict[str, list[Prompt]] = {}
    _want(isinstance(content["objects"], list), "objects", "a list", content["objects"])
    for number, item in enumerate(content["objects"]):
        where = f"objects[{number}]"
        _keys(item, {"name", "prompts"}, set(), where)
        name = item["name"]
        _want(isinstance(name, str) and 0 < len(name) <= 200, f"{where}.name", "a name of 1 to 200 letters", name)
        _want(name not in objects, f"{where}.name", "another name for each object", name)
        _want(isinstance(item["prompts"], list), f"{where}.prompts", "a list", item["prompts"])
        objects[name] = [_prompt(p, space, f"{where}.prompts[{n}]") for n, p in enumerate(item["prompts"])]
    return VolumePrompts(objects, None if size is None else tuple(size))


def prompts_to_json(prompts: VolumePrompts, affine: Affine | None = None) -> dict[str, Any]:
    """Plain values that :func:`prompts_from_json` reads back.

    Args:
        prompts: any.
        affine: when given, every position is also written in voxel indices and in LPS, for reports; such a form is
            for reading by people and does not fit the schema.
    """
    objects = [
        {"name": name, "prompts": [_plain(prompt, affine) for prompt in given]}
        for name, given in prompts.objects.items()
    ]
    form: dict[str, Any] = {"version": VERSION, "objects": objects}
    if prompts.size is not None:
        form["size"] = [int(n) for n in prompts.size]
    return form


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Bool [rows, columns] -> ``{"shape": [rows, columns], "runs": [start, length, ...]}``, row after row."""
    flat = np.concatenate([[0], np.asarray(mask, dtype=np.int8).ravel(), [0]])
    edges = np.diff(flat)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return {"shape": [int(n) for n in mask.shape], "runs": np.stack([starts, ends - starts], axis=1).ravel().tolist()}


def decode_mask(form: Mapping[str, Any], where: str = "mask") -> np.ndarray:
    """Inverse of :func:`encode_mask`.

    Raises:
        PromptError: ``prompt.json`` for runs that overlap, go backwards or leave the mask.
    """
    shape, runs = form["shape"], form["runs"]
    fits = _whole_numbers(shape, 2) and 0 < shape[0] * shape[1] <= MAX_MASK_PIXELS
    _want(fits, f"{where}.shape", "[rows, columns]", shape)
    _want(_whole_numbers(runs) and len(runs) % 2 == 0, f"{where}.runs", "pairs of start and length", runs)
    pixels = shape[0] * shape[1]
    pairs = np.array(runs, dtype=object).reshape(-1, 2)
    mask = np.zeros(pixels, dtype=bool)
    done = 0
    for start, length in pairs:
        _want(start >= done and start + length <= pixels, f"{where}.runs", "ascending runs inside the mask", start)
        done = start + length
        mask[start:done] = True
    return mask.reshape(shape)


_FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "point": ({"position"}, {"label", "space"}),
    "box": ({"corner0", "corner1"}, {"space"}),
    "mask": ({"slice", "shape", "runs"}, {"axis", "keep"}),
    "scribble": ({"polyline"}, {"label", "space"}),
    "stop": ({"slice"}, set()),
}


def _prompt(item: Any, space: str, where: str) -> Prompt:
    kind = item.get("type") if isinstance(item, Mapping) else None
    _want(isinstance(kind, str) and kind in _FIELDS, f"{where}.type", f"one of {', '.join(_FIELDS)}", kind)
    needed, optional = _FIELDS[kind]
    _keys(item, {"type", *needed}, optional, where)
    space = item.get("space", space)
    if kind == "point":
        return PointPrompt(item["position"], item.get("label", 1), space)
    if kind == "box":
        return BoxPrompt(item["corner0"], item["corner1"], space)
    if kind == "scribble":
        _want(isinstance(item["polyline"], list), f"{where}.polyline", "a list of positions", item["polyline"])
        return ScribblePrompt(item["polyline"], item.get("label", 1), space)
    if kind == "mask":
        keep = item.get("keep", True)
        _want(isinstance(keep, bool), f"{where}.keep", "true or false", keep)
        return MaskPrompt(decode_mask(item, where), item["slice"], item.get("axis"), keep)
    return StopMark(item["slice"])


def _plain(prompt: Prompt, affine: Affine | None) -> dict[str, Any]:
    if isinstance(prompt, StopMark):
        return {"type": "stop", "slice": prompt.slice}
    if isinstance(prompt, MaskPrompt):
        axis = {} if prompt.axis is None else {"axis": prompt.axis}
        return {"type": "mask", "slice": prompt.slice, **axis, "keep": prompt.keep, **encode_mask(prompt.mask)}
    if isinstance(prompt, PointPrompt):
        form: dict[str, Any] = {"type": "point", "position": list(prompt.position), "label": prompt.label}
        positions = [prompt.position]
    elif isinstance(prompt, BoxPrompt):
        form = {"type": "box", "corner0": list(prompt.corner0), "corner1": list(prompt.corner1)}
        positions = [prompt.corner0, prompt.corner1]
    else:
        form = {"type": "scribble", "polyline": prompt.polyline.tolist(), "label": prompt.label}
        positions = prompt.polyline.tolist()
    form["space"] = prompt.space
    if affine is not None and len(positions):
        ijk = to_ijk(np.array(positions, dtype=np.float64), prompt.space, affine)
        form["ijk"], form["lps"] = ijk.round(4).tolist(), affine.ijk_to_lps(ijk).round(4).tolist()
    return form


def _keys(item: Any, needed: set[str], optional: set[str], where: str) -> None:
    _want(isinstance(item, Mapping), where, "an object with named fields", item)
    missing, unknown = sorted(needed - set(item)), sorted(set(map(str, item)) - needed - optional)
    _want(not missing, where, f"the field {', '.join(missing)}", "none")
    _want(not unknown, where, f"no fields but {', '.join(sorted(needed | optional))}", ", ".join(unknown))


def _whole_numbers(value: Any, count: int | None = None) -> bool:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return False
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value)


def _want(fits: bool, where: str, expected: str, got: Any) -> None:
    if not fits:
        text = repr(got)
        raise PromptError("prompt.json", f"Expected {expected} at {where}; got {text[:60]}.")
