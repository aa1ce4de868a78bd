"""Stand-in for ``slicer.parameterNodeWrapper``: typed attributes kept in a real vtkMRMLScriptedModuleNode.

Known types: int, float, bool, str, Enum, Path, MRML nodes, Optional and Annotated of those, lists of simple types.
Everything else raises NotImplementedError.
"""

from __future__ import annotations

import functools
import typing
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import slicer
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
    "isParameterNodeWrapper",
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
    for name in parameters:
        setattr(classtype, name, _property_of(name))
    for name, member in WrapperMethods.__dict__.items():
        if not callable(member):
            continue
        if not name.startswith("__") and hasattr(classtype, name):
            raise ValueError(f"{name!r} is a name of the wrapper's own")
        setattr(classtype, name, member)
    classtype.allParameters = parameters
    return classtype


def _property_of(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


class WrapperMethods:
    """What a wrapped class gets. Values are cached, and read again when the node says that it was modified."""

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        if prefix:
            raise NotImplementedError("the stand-in has no prefix of parameters")
        self.parameterNode = parameterNode
        self._links: dict[int, dict[str, GuiLink]] = {}
        self._next_tag = 0
        self._showing = False
        self._writing = False
        self._cache: dict[str, Any] = {}
        for name, parameter in self.allParameters.items():
            if not parameterNode.HasParameter(name):
                parameter.write(parameterNode, parameter.default)
            self._cache[name] = parameter.read(parameterNode)
        me = weakref.ref(self)  # observers must not keep the wrapper alive
        parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: me() and me()._read_again())

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name != "parameterNode" and name not in self.allParameters:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        object.__setattr__(self, name, value)

    def getValue(self, paramName: str) -> Any:
        """Value of a parameter by its name."""
        self._known(paramName)
        return self._cache[paramName]

    def setValue(self, paramName: str, value: object) -> None:
        """Set a parameter by its name; observers of the node see the new value already."""
        self._known(paramName)
        parameter = self.allParameters[paramName]
        self._writing = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                parameter.write(self.parameterNode, value)
                self._cache[paramName] = parameter.read(self.parameterNode)
        finally:
            self._writing = False

    def isCached(self, paramName: str) -> bool:
        """True: all types that are known here are cached."""
        self._known(paramName)
        return True

    def default(self, paramName: str) -> Default:
        """Default of a parameter."""
        self._known(paramName)
        return Default(self.allParameters[paramName].default)

    def dataType(self, paramName: str) -> Any:
        """Type of a parameter."""
        self._known(paramName)
        return self.allParameters[paramName].type

    def AddObserver(self, event: int | str, callback: Callable[..., None], priority: float = 0.0) -> int:
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Stop observing the node."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        """Hold back the node's events."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        """Let the node's events go."""
        return self.parameterNode.EndModify(wasModified)

    def Modified(self) -> None:
        """Say that the node changed."""
        self.parameterNode.Modified()

    def connectGui(self, gui: Any) -> None:
        """Bind every widget of ``gui`` that names a parameter in its property SlicerParameterName.

        Slicer's own returns no tag either, although its examples keep one: such a binding cannot be undone.
        ``connectParametersToGui`` returns a tag.
        """
        named = {}
        for widget in list(vars(gui).values()):
            name = widget.property("SlicerParameterName")
            if name:
                named[name] = widget
        self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind parameters to widgets in both directions; returns a tag for ``disconnectGui``."""
        for name in mapping:
            self._known(name)
        links = {name: GuiLink(self.allParameters[name], widget) for name, widget in mapping.items()}
        tag = self._next_tag
        self._next_tag += 1
        self._links[tag] = links
        for name, link in links.items():
            link.show(self.getValue(name))
            link.connect(functools.partial(self._on_widget, name, link))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show())
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        """Undo ``connectParametersToGui``; an unknown tag does nothing."""
        for link in self._links.pop(tag, {}).values():
            link.disconnect()

    def _known(self, name: str) -> None:
        if name not in self.allParameters:
            raise ValueError(f"there is no parameter {name!r}; there are {sorted(self.allParameters)}")

    def _read_again(self) -> None:
        if self._writing:
            return
        self._writing = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                for name, parameter in self.allParameters.items():
                    self._cache[name] = parameter.read(self.parameterNode)
        finally:
            self._writing = False

    def _on_widget(self, name: str, link: GuiLink) -> None:
        if not self._showing:
            self.setValue(name, link.value())

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            with slicer.util.NodeModify(self):
                for links in self._links.values():
                    for name, link in links.items():
                        link.show(self.getValue(name))
        finally:
            self._showing = False


def isParameterNodeWrapper(classOrObj: object) -> bool:
    """Whether a class or object was made by ``parameterNodeWrapper``."""
    return hasattr(classOrObj, "allParameters")
