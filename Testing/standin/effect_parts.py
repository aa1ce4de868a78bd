"""Two parts of the stand-in of a scripted effect: its parameters in the editor's node, and its dealings with views."""

from __future__ import annotations

from typing import Any

import numpy as np

from .qt_namespace import qt


class EffectParameters:
    """Parameters of an effect: attributes of the editor's node, ``<effect>.<name>`` or common to all effects."""

    name: str
    _node: Any

    def parameter(self, name: str) -> str:
        """Text of a parameter: the effect's own, else the common one, else empty."""
        own = self._node.GetAttribute(f"{self.name}.{name}")
        return own if own is not None else self._node.GetAttribute(name) or ""

    def integerParameter(self, name: str) -> int:
        """A parameter as a whole number; 0 when it is none."""
        text = self.parameter(name)
        return int(text) if text.lstrip("-").isdigit() else 0

    def doubleParameter(self, name: str) -> float:
        """A parameter as a number; 0 when it is none."""
        try:
            return float(self.parameter(name))
        except ValueError:
            return 0.0

    def parameterDefined(self, name: str) -> bool:
        """Whether the effect's own parameter is set."""
        return self._node.GetAttribute(f"{self.name}.{name}") is not None

    def setParameter(self, name: str, value: str | float) -> None:
        """Set the effect's own parameter and say so."""
        self._set(f"{self.name}.{name}", value)

    def setParameterDefault(self, name: str, value: str | float) -> None:
        """Set the effect's own parameter unless it is set."""
        if not self.parameterDefined(name):
            self._set(f"{self.name}.{name}", value)

    def setCommonParameter(self, name: str, value: str | float) -> None:
        """Set a parameter that all effects see."""
        self._set(name, value)

    def setCommonParameterDefault(self, name: str, value: str | float) -> None:
        """Set a common parameter unless it is set."""
        if self._node.GetAttribute(name) is None:
            self._set(name, value)

    def _set(self, attribute: str, value: str | float) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"a parameter is a text or a number, got {value!r}")
        if self._node.GetAttribute(attribute) != str(value):
            self._node.SetAttribute(attribute, str(value))
            self._node.InvokeCustomModifiedEvent(self._node.EffectParameterModified)


class EffectViews:
    """Views of an effect: conversion of coordinates, actors. A view is a ``StandInSliceWidget``."""

    @staticmethod
    def renderWindow(viewWidget: Any) -> Any:
        """Render window of a view."""
        return viewWidget.sliceView().renderWindow()

    @staticmethod
    def renderer(viewWidget: Any) -> Any:
        """Renderer of a view."""
        return viewWidget.view.renderer

    @staticmethod
    def viewNode(viewWidget: Any) -> Any:
        """Node of a view."""
        return viewWidget.mrmlSliceNode()

    @staticmethod
    def rasToXy(ras: Any, sliceWidget: Any) -> Any:
        """RAS mm to a pixel, whole numbers."""
        x, y, _ = sliceWidget.view.ras_to_view(np.array([ras.x(), ras.y(), ras.z()]))
        return qt.QPoint(int(x), int(y))

    @staticmethod
    def xyToRas(xy: Any, sliceWidget: Any) -> Any:
        """Pixel to RAS mm, single precision."""
        return qt.QVector3D(*map(float, sliceWidget.view.view_to_ras(xy.x(), xy.y())))

    @staticmethod
    def xyzToRas(xyz: Any, sliceWidget: Any) -> Any:
        """View coordinates to RAS mm, single precision."""
        return qt.QVector3D(*map(float, sliceWidget.view.view_to_ras(xyz.x(), xyz.y())))

    def addActor2D(self, viewWidget: Any, actor: Any) -> None:
        """Show an actor in a view; the effect has to remove it."""
        self.renderer(viewWidget).AddViewProp(actor)
        self.actors.append((viewWidget, actor))

    def removeActor2D(self, viewWidget: Any, actor: Any) -> None:
        """Take an actor out of a view."""
        self.renderer(viewWidget).RemoveViewProp(actor)
        self.actors.remove((viewWidget, actor))

    def scheduleRender(self, viewWidget: Any) -> None:
        """Offscreen views draw when a picture is asked for."""

    def cursorOff(self, viewWidget: Any) -> None:
        """No cursor to be seen."""

    def cursorOn(self, viewWidget: Any) -> None:
        """No cursor to be seen."""
