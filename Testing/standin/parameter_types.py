"""Types, validators and storage of the parameters of a parameter node wrapper (see parameter_node)."""

from __future__ import annotations

import enum
import json
import pathlib
import types
import typing
from collections.abc import Iterable
from typing import Any

import slicer


class Default:
    """Default value, inside ``Annotated``."""

    def __init__(self, value: object) -> None:
        self.value = value


class Decimals:
    """Number of decimals that a widget shows."""

    def __init__(self, value: int) -> None:
        self.value = value


class SingleStep:
    """Step of a widget."""

    def __init__(self, value: float) -> None:
        self.value = value


class Validator:
    """Base of the checks made on every write."""

    def validate(self, value: Any) -> None:
        """Raise ValueError when ``value`` is not allowed."""
        raise NotImplementedError


class NotNone(Validator):
    """None is refused."""

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("None is not allowed")


class Minimum(Validator):
    """Numbers from ``minimum`` on."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value!r} is less than {self.minimum!r}")


class Maximum(Validator):
    """Numbers up to ``maximum``."""

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value!r} is greater than {self.maximum!r}")


class WithinRange(Validator):
    """Numbers from ``minimum`` to ``maximum``."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value is None or not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value!r} is not within [{self.minimum!r}, {self.maximum!r}]")


class Choice(Validator):
    """One of some values."""

    def __init__(self, choices: Iterable[object]) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is not one of {self.choices!r}")


class Exclude(Validator):
    """None of some values."""

    def __init__(self, excludedValues: Iterable[object]) -> None:
        self.excluded = list(excludedValues)

    def validate(self, value: Any) -> None:
        if value in self.excluded:
            raise ValueError(f"{value!r} is excluded")


class WriteOnceList(list):
    """What reading a list parameter gives. Slicer hands out a list that writes itself back; here changing it raises."""

    def _refuse(self, *_args: object, **_kwargs: object) -> typing.NoReturn:
        raise NotImplementedError("the stand-in does not write a changed list back: assign a new list")

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = _refuse


SIMPLE_TYPES = (bool, int, float, str)


def is_node_type(kind: object) -> bool:
    """Whether a type is a class of MRML nodes."""
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _without_annotation(hint: Any) -> tuple[Any, tuple[object, ...]]:
    if typing.get_origin(hint) is typing.Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _without_optional(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        arguments = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(arguments) != 1:
            raise NotImplementedError(f"the stand-in knows no union of types: {hint!r}")
        return arguments[0], True
    return hint, False


class Parameter:
    """One attribute of a wrapped class: its type, checks, default, and how it is kept in the node."""

    def __init__(self, name: str, hint: Any, has_default: bool, default: object) -> None:
        self.name = name
        hint, self.annotations = _without_annotation(hint)
        self.type, self.optional = _without_optional(hint)
        self.validators = [note for note in self.annotations if isinstance(note, Validator)]
        self._check_type()
        self.default = default if has_default else self._implied_default()

    @property
    def is_node(self) -> bool:
        """Whether the parameter is a reference to a node."""
        return is_node_type(self.type)

    @property
    def is_enum(self) -> bool:
        """Whether the parameter is an Enum."""
        return isinstance(self.type, type) and issubclass(self.type, enum.Enum)

    def note(self, kind: type) -> Any:
        """The annotation of a kind; None when there is none."""
        return next((note for note in self.annotations if isinstance(note, kind)), None)

    def write(self, node: object, value: Any) -> None:
        """Check ``value`` and keep it in the node."""
        self._check_value(value)
        for validator in self.validators:
            validator.validate(value)
        if self.is_node:
            node.SetParameter(self.name, "")  # tells that the parameter is there, even without a node
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, self._to_text(value))

    def read(self, node: object) -> Any:
        """The value in the node; one that is not there (the scene was closed) becomes the default, as in Slicer."""
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if self.optional and text == "None":
            return None
        if self.type is bool:
            return text == "True"
        if self.is_enum:
            return self.type[text]
        if typing.get_origin(self.type) is list:
            return WriteOnceList(json.loads(text))
        return self.type(text)

    def _to_text(self, value: Any) -> str:
        if value is None:
            return "None"
        if self.is_enum:
            return value.name
        return json.dumps(value) if isinstance(value, list) else str(value)

    def _check_type(self) -> None:
        known = self.is_node or self.is_enum or self.type in SIMPLE_TYPES
        known = known or (isinstance(self.type, type) and issubclass(self.type, pathlib.PurePath))
        of = typing.get_args(self.type)
        known = known or (typing.get_origin(self.type) is list and of[0] in SIMPLE_TYPES)
        if not known:
            raise NotImplementedError(f"the stand-in knows no parameter of type {self.type!r} ({self.name})")

    def _check_value(self, value: Any) -> None:
        if value is None and (self.is_node or self.optional):
            return
        expected = typing.get_origin(self.type) or self.type
        accepted = (int, float) if expected is float else (expected,)
        wrong_bool = isinstance(value, bool) and expected is not bool
        if value is None:
            raise ValueError(f"{self.name} must not be None")
        if not isinstance(value, accepted) or wrong_bool:
            raise TypeError(f"{self.name} expects {expected.__name__}, got {value!r}")

    def _implied_default(self) -> Any:
        default, choice = self.note(Default), self.note(Choice)
        if default is not None:
            return default.value
        if choice is not None:
            return choice.choices[0]
        if self.is_node or self.optional:
            return None
        if self.is_enum:
            return next(iter(self.type))
        return (typing.get_origin(self.type) or self.type)()
