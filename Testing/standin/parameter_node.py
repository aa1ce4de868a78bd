"""Stand-in for ``slicer.parameterNodeWrapper``: typed attributes kept in a real vtkMRMLScriptedModuleNode.

Known types: int, float, bool, str, Enum, Path, MRML nodes, Optional and Annotated of those, lists of simple types.
Everything else raises NotImplementedError.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, NoReturn

import vtk

from .parameter_gui import GuiLink
from .parameter_types import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    NotNone,
    Parameter,
    SingleStep,
    Validator,
    WithinRange,
)

SLICER_NAME = "parameterNodeWrapper"
__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "Validator",
    "WithinRange",
    "parameterNodeWrapper",
    "parameterPack",
]


def parameterPack(classtype: type | None = None) -> NoReturn:
    """Not in the stand-in."""
    raise NotImplementedError("the stand-in has no parameterPack")


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Make the annotated attributes of a class parameters of the node that it is made with."""
    if classtype is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(classtype, include_extras=True)
    own = classtype.__dict__
    parameters = {name: Parameter(name, hint, name in own, own.get(name)) for name, hint in hints.items()}
    body: dict[str, Any] = {
        name: value for name, value in own.items() if name not in parameters and name not in ("__dict__", "__weakref__")
    }
    for name, parameter in parameters.items():
        body[name] = _property_of(parameter)
    body["allParameters"] = parameters
    return type(classtype)(classtype.__name__, (WrappedParameterNode, *_own_bases(classtype)), body)


def _own_bases(classtype: type) -> tuple[type, ...]:
    return tuple(base for base in classtype.__bases__ if base is not object)


def _property_of(parameter: Parameter) -> property:
    def read(self: WrappedParameterNode) -> Any:
        return parameter.read(self.parameterNode)

    def write(self: WrappedParameterNode, value: Any) -> None:
        parameter.write(self.parameterNode, value)

    return property(read, write)


class WrappedParameterNode:
    """Base of every wrapped class; ``parameterNode`` is the node that holds the values."""

    allParameters: dict[str, Parameter]

    def __init__(self, parameterNode: object, prefix: str | None = None) -> None:
        if prefix:
            raise NotImplementedError("the stand-in has no prefix of parameters")
        self.parameterNode = parameterNode
        self._links: dict[int, tuple[list[GuiLink], int]] = {}
        self._refreshing = False
        present = set(parameterNode.GetParameterNames())
        for name, parameter in self.allParameters.items():
            if not parameter.is_node and name not in present:
                parameter.write(parameterNode, parameter.default)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name != "parameterNode" and name not in self.allParameters:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        super().__setattr__(name, value)

    def getValue(self, paramName: str) -> Any:
        """Value of a parameter by its name."""
        return self.allParameters[paramName].read(self.parameterNode)

    def setValue(self, paramName: str, value: object) -> None:
        """Set a parameter by its name."""
        self.allParameters[paramName].write(self.parameterNode, value)

    def default(self, paramName: str) -> Default:
        """Default of a parameter."""
        return Default(self.allParameters[paramName].default)

    def dataType(self, paramName: str) -> Any:
        """Type of a parameter."""
        return self.allParameters[paramName].type

    def AddObserver(self, event: int | str, callback: Callable[..., None], priority: float = 0.0) -> int:
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Stop observing the node."""
        self.parameterNode.RemoveObserver(tag)

    def HasObserver(self, *arguments: object) -> int:
        """Whether the node is observed."""
        return self.parameterNode.HasObserver(*arguments)

    def StartModify(self) -> int:
        """Hold back the node's events."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        """Let the node's events go."""
        return self.parameterNode.EndModify(wasModified)

    def Modified(self) -> None:
        """Say that the node changed."""
        self.parameterNode.Modified()

    def connectGui(self, gui: object) -> int:
        """Bind every widget of ``gui`` that names a parameter in its property SlicerParameterName; returns a tag."""
        named = {}
        for widget in list(vars(gui).values()):
            name = widget.property("SlicerParameterName")
            if name:
                named[name] = widget
        return self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, object]) -> int:
        """Bind parameters to widgets in both directions; returns a tag for ``disconnectGui``."""
        unknown = set(mapping) - set(self.allParameters)
        if unknown:
            raise ValueError(f"no such parameters: {sorted(unknown)}")
        links = [GuiLink(self, self.allParameters[name], widget) for name, widget in mapping.items()]

        def refresh(*_: object) -> None:
            self._refresh(links)

        refresh()
        tag = max(self._links, default=-1) + 1
        self._links[tag] = links, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, refresh)
        for link in links:
            link.connect()
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo ``connectGui``."""
        if tag not in self._links:
            return
        links, observer = self._links.pop(tag)
        self.parameterNode.RemoveObserver(observer)
        for link in links:
            link.disconnect()

    def _refresh(self, links: list[GuiLink]) -> None:
        if self._refreshing:
            return
        self._refreshing = True
        try:
            for link in links:
                link.show()
        finally:
            self._refreshing = False
