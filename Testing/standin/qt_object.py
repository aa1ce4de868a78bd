"""PythonQt's manners on a PySide6 class: properties are attributes, signals are connected by their signature.

A Qt property is a plain attribute (``w.text``, ``w.enabled = False``), so its getter is hidden (``w.text()`` fails) and
its setter stays. Slots and signals cannot be overwritten, and an unknown attribute on an object made by Qt raises.
Children are reached by their object name. Connecting to a signal that does not exist raises; PythonQt only prints.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

QObject = QtCore.QObject


class UnknownSignal(AssertionError):
    """A signal that the class does not have."""


@functools.cache
def qt_properties(kind: type) -> dict[str, QtCore.QMetaProperty]:
    """Properties of a Qt class and its bases by name."""
    meta = kind.staticMetaObject
    return {meta.property(index).name(): meta.property(index) for index in range(meta.propertyCount())}


def arguments_taken(slot: Callable[..., Any], offered: int) -> int:
    """How many of a signal's arguments a callable gets: no more than it takes."""
    try:
        parameters = list(inspect.signature(slot).parameters.values())
    except (TypeError, ValueError):
        return offered
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return offered
    return min(offered, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))


class PythonQtManners:
    """Mixin, placed before the Qt class.

    ``_made_by_qt``: the class itself is Qt's, so objects take no new attributes; a subclass in Python does.
    ``SIGNATURES``: C++ signature to the name of the Python signal, where Qt's own meta object does not have it.
    ``loading``: set while a .ui file is read, when PySide6 itself sets attributes.
    """

    _made_by_qt = True
    SIGNATURES: dict[str, str] = {}  # noqa: RUF012
    loading = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_made_by_qt" not in cls.__dict__:
            cls._made_by_qt = False

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_":
            kind = object.__getattribute__(self, "__class__")
            if name in qt_properties(kind):
                return QObject.property(self, name)
            if name == "name":
                return QObject.objectName(self)
            if name in ("connect", "disconnect"):  # PySide6 has static methods of these names
                return functools.partial(PythonQtManners.__dict__[name], self)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = QObject.property(self, name)
        if value is not None or _is_dynamic(self, name):
            return value
        for child in QObject.children(self):
            if QObject.objectName(child) == name:
                return child
        raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_":
            super().__setattr__(name, value)
        elif name == "name":
            QObject.setObjectName(self, value)
        elif name in qt_properties(type(self)):
            self._set_property(name, value)
        elif _is_dynamic(self, name):
            QObject.setProperty(self, name, value)
        elif not (PythonQtManners.loading and isinstance(value, QObject)):  # PySide6's loader sets root.<child>
            self._set_new(name, value)

    def findChildren(self, kind: type = QObject, name: str = "") -> tuple[Any, ...]:
        """Children of a class, as a tuple."""
        found = (
            QObject.findChildren(self, _qt_class(kind), name) if name else QObject.findChildren(self, _qt_class(kind))
        )
        return tuple(found)

    def findChild(self, kind: type = QObject, name: str = "") -> Any:
        """First child of a class."""
        by = (_qt_class(kind), name) if name else (_qt_class(kind),)
        return QObject.findChild(self, *by)

    def children(self) -> tuple[Any, ...]:
        """Direct children, as a tuple."""
        return tuple(QObject.children(self))

    def className(self) -> str:
        """Name of the C++ class."""
        return next(kind.__name__ for kind in type(self).__mro__ if kind.__dict__.get("_made_by_qt"))

    def inherits(self, name: str) -> bool:
        """Whether the object is of a class or of a class derived from it."""
        return any(kind.__name__ == name for kind in type(self).__mro__)

    def delete(self) -> None:
        """Destroy the C++ object."""
        shiboken6.delete(self)

    def connect(self, signal: Any, *target: Any) -> bool:
        """``connect("signal(args)", callable)`` or ``connect("signal(args)", receiver, "slot(args)")``."""
        if not isinstance(signal, str) or signal[:1] in "12":  # PySide6 itself calls this for signal.connect(f)
            return QObject.connect(signal, *target)
        if len(target) == 2:
            target = (getattr(target[0], target[1].split("(")[0]),)
        slot = target[0]
        if not callable(slot):
            raise TypeError(f"connect: {slot!r} is not callable")
        offered = 0 if "()" in signal.replace(" ", "") else signal.count(",") + 1
        taken = arguments_taken(slot, offered)

        def call(*arguments: object) -> None:
            """The slot with no more arguments than it takes."""
            slot(*arguments[:taken])

        self._signal(signal).connect(call)
        self.__dict__.setdefault("_connections", {}).setdefault((signal, slot), []).append(call)
        return True

    def disconnect(self, *arguments: Any) -> bool:
        """Undo ``connect`` with the same arguments; False when it was not connected."""
        if not arguments or not isinstance(arguments[0], str) or arguments[0][:1] in "12":
            return QObject.disconnect(*arguments)
        signal, slot = arguments
        calls = self.__dict__.setdefault("_connections", {}).pop((signal, slot), [])
        for call in calls:
            self._signal(signal).disconnect(call)
        return bool(calls)

    def _set_property(self, name: str, value: Any) -> None:
        known = qt_properties(type(self))[name]
        if not known.isWritable():
            raise AttributeError(f"Property '{name}' of {type(self).__name__} object is not writable")
        if isinstance(value, tuple) and known.typeName() in ("QStringList", "QVariantList"):
            value = list(value)
        if not QObject.setProperty(self, name, value):
            raise AttributeError(
                f"Property '{name}' of type '{known.typeName()}' does not accept an object of type"
                f" {type(value).__name__} ({value!r})"
            )

    def _set_new(self, name: str, value: Any) -> None:
        kind = type(self)
        if not kind._made_by_qt:
            super().__setattr__(name, value)
        elif hasattr(kind, name):
            raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {kind.__name__} object")
        else:
            raise AttributeError(
                f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
            )

    def _signal(self, signature: str) -> Any:
        own = {}
        for kind in reversed(type(self).__mro__):
            own.update(kind.__dict__.get("SIGNATURES", {}))
        if signature in own:
            return getattr(self, own[signature])
        normal = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
        if QObject.metaObject(self).indexOfSignal(normal) < 0:
            raise UnknownSignal(f"{type(self).__name__} has no signal {signature}")
        signal = getattr(self, signature.split("(")[0])
        arguments = normal[normal.index("(") + 1 : -1]
        try:
            return signal[arguments] if arguments else signal
        except (KeyError, IndexError, TypeError):  # not overloaded
            return signal


def _is_dynamic(item: QObject, name: str) -> bool:
    return name.encode() in [bytes(known) for known in QObject.dynamicPropertyNames(item)]


def _qt_class(kind: type) -> type:
    return kind.__dict__.get("_qt_class", kind)


def with_manners(base: type, name: str | None = None) -> type:
    """A PySide6 class with PythonQt's manners.

    Each class is wrapped on its own, so ``isinstance(button, qt.QWidget)`` is False, as in PythonQt.
    """
    body = {"_qt_class": base, "_made_by_qt": True, "__doc__": base.__doc__}
    return type(base)(name or base.__name__, (PythonQtManners, base), body)
