"""The stand-in is honest: signatures as in slicer-core and in the documented interface, no answers at a guess."""

from __future__ import annotations

import ast
import enum
import inspect
import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from conftest import REPOSITORY

STANDIN = REPOSITORY / "Testing" / "standin"

# Parameters of the documented interface of Slicer 5.12, in their order.
DOCUMENTED = {
    "packaging.pip_ensure": "requirements constraints skip_packages prompt_install prompt_restart requester"
    " skip_in_testing show_progress",
    "packaging.pip_install": "requirements constraints no_deps_requirements skip_packages blocking show_progress"
    " requester parent logCallback completedCallback",
    "packaging.pip_check": "req _seen",
    "packaging.load_requirements": "path",
    "i18n.tr": "text",
    "i18n.translate": "context text",
    "i18n.getContext": "sourceFile",
    "scripted_module.ScriptedLoadableModule.getDefaultModuleDocumentationLink": "self docPage",
    "scripted_module.ScriptedLoadableModule.resourcePath": "self filename",
    "scripted_module.ScriptedLoadableModuleLogic.__init__": "self parent",
    "scripted_module.ScriptedLoadableModuleWidget.__init__": "self parent",
    "scripted_module.ScriptedLoadableModuleTest.delayDisplay": "self message requestedDelay msec",
    "scripted_module.ScriptedLoadableModuleTest.takeScreenshot": "self name description type",
    "parameter_node.WrapperMethods.__init__": "self parameterNode prefix",
    "parameter_node.WrapperMethods.connectGui": "self gui",
    "parameter_node.WrapperMethods.connectParametersToGui": "self mapping",
    "parameter_node.WrapperMethods.disconnectGui": "self tag",
    "parameter_types.WithinRange.__init__": "self minimum maximum",
    "parameter_types.Choice.__init__": "self choices",
    "pytorch_utils.PyTorchUtilsLogic.installTorch": "self askConfirmation forceComputationBackend"
    " torchVersionRequirement",
    "sample_data.SampleDataSource.__init__": "self sampleName sampleDescription uris fileNames nodeNames checksums"
    " loadFiles customDownloader thumbnailFileName loadFileType loadFileProperties",
    "sample_data.SampleDataLogic.registerCustomSampleDataSource": "category sampleName uris fileNames nodeNames"
    " customDownloader thumbnailFileName loadFileType loadFiles loadFileProperties checksums",
    "sample_data.downloadSample": "sampleName",
}
# What slicer.util asks for in functions that are not for modules: console, designer, extensions manager, exit.
NOT_NEEDED = {"exit", "extensionsManagerModel", "launchDesigner", "pythonConsole", "restart"}


class Mode(enum.Enum):
    ONE = 1
    TWO = 2


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_signatures(slicer_host, name: str) -> None:
    import importlib

    module, *path = name.split(".")
    item: Any = importlib.import_module(f"standin.{module}")
    for part in path:
        item = getattr(item, part)
    assert list(inspect.signature(item).parameters) == DOCUMENTED[name].split()


def test_slicer_util_wraps_the_same_functions(slicer_host) -> None:
    """slicer.util of the wheel forwards to slicer.packaging; its parameters must be understood there."""
    import slicer

    for name in ("pip_install", "pip_uninstall"):
        forwarded = inspect.signature(getattr(slicer.util, name)).parameters
        ours = inspect.signature(getattr(slicer.packaging, name)).parameters
        named = [p for p in forwarded.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        assert {p.name for p in named} <= set(ours)


def test_the_application_has_what_slicer_util_asks_of_it(slicer_host) -> None:
    import slicer

    tree = ast.parse(Path(slicer.util.__file__).read_text(encoding="utf-8"))
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("slicer.app", "app")
    }
    assert len(asked) > 10
    assert sorted(name for name in asked - NOT_NEEDED if not hasattr(slicer.app, name)) == []


def test_logic_of_the_segment_editor_has_what_the_stand_in_calls(slicer_host) -> None:
    """Every method that the stand-in calls on the real logic and node exists there."""
    import slicer

    owners = {
        "self._editor.logic": slicer.vtkSlicerSegmentEditorLogic,
        "self.logic": slicer.vtkSlicerSegmentEditorLogic,
        "self.node": slicer.vtkMRMLSegmentEditorNode,
        "self._node": slicer.vtkMRMLSegmentEditorNode,
        "node": slicer.vtkMRMLSegmentEditorNode,
    }
    checked = 0
    for file in ("segment_effect.py", "effect_parts.py", "segment_editor.py"):
        for node in ast.walk(ast.parse((STANDIN / file).read_text(encoding="utf-8"))):
            owner = owners.get(ast.unparse(node.value)) if isinstance(node, ast.Attribute) else None
            if owner is not None:
                checked += 1
                assert hasattr(owner, node.attr), f"{file}:{node.lineno}: {ast.unparse(node)}"
    assert checked > 20


def test_modes_of_modification_are_those_of_the_logic(slicer_gui) -> None:
    import slicer

    modes, logic = slicer.qSlicerSegmentEditorAbstractEffect, slicer.vtkSlicerSegmentEditorLogic
    for name in ("Set", "Add", "Remove", "RemoveAll"):
        assert getattr(modes, f"ModificationMode{name}") == getattr(logic, f"ModificationMode{name}")


def test_every_logic_of_the_wheel_is_there(slicer_host) -> None:
    import slicer
    from standin.core import MODULE_LOGICS

    for attribute, class_name, _ in MODULE_LOGICS:
        logic = getattr(slicer.modules, attribute).logic()
        assert logic.IsA(class_name)
        assert logic.GetMRMLScene() is slicer.mrmlScene


def test_parameters_keep_their_types_in_the_node(slicer_host, make_volume) -> None:
    import slicer
    from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

    wrapped = parameterNodeWrapper(
        type(
            "Wrapped",
            (),
            {
                "__annotations__": {
                    "number": Annotated[float, WithinRange(0, 10)],
                    "count": int,
                    "flag": bool,
                    "name": Annotated[str, Choice(["a", "b"])],
                    "mode": Mode,
                    "volume": slicer.vtkMRMLScalarVolumeNode,
                    "names": list[str],
                },
                "number": 3,
                "flag": True,
            },
        )
    )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    first = wrapped(node)
    volume = make_volume().node
    defaults = (first.number, first.count, first.flag, first.name, first.mode, first.volume)
    assert defaults == (3, 0, True, "a", Mode.ONE, None)
    first.number, first.count, first.flag, first.name = 4, 7, False, "b"
    first.mode, first.volume, first.names = Mode.TWO, volume, ["x", "y"]
    again = wrapped(node)
    read = (again.number, again.count, again.flag, again.name, again.mode, again.volume, list(again.names))
    assert read == (4.0, 7, False, "b", Mode.TWO, volume, ["x", "y"])
    assert (node.GetParameter("flag"), node.GetParameter("mode"), node.GetParameter("volume")) == ("False", "TWO", "")
    for name, value, error in (
        ("number", 11, ValueError),
        ("number", "4", TypeError),
        ("count", 1.5, TypeError),
        ("flag", 1, TypeError),
        ("name", "c", ValueError),
        ("name", None, ValueError),
        ("volume", node, TypeError),
        ("nothing", 1, AttributeError),
    ):
        with pytest.raises(error):
            setattr(again, name, value)
    with pytest.raises(NotImplementedError):
        again.names.append("z")


@pytest.mark.parametrize("kind", [dict, "set[int]", "int | str", tuple])
def test_unknown_types_of_parameters_raise(slicer_host, kind: Any) -> None:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(NotImplementedError):
        parameterNodeWrapper(type("Wrapped", (), {"__annotations__": {"value": kind}}))


def test_values_follow_the_node(slicer_host, make_volume) -> None:
    """Values are cached and read again when the node is modified, also by somebody else and by a node that goes."""
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    hints = {"count": int, "volume": slicer.vtkMRMLScalarVolumeNode}
    wrapped = parameterNodeWrapper(type("Wrapped", (), {"__annotations__": hints}))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    one, other = wrapped(node), wrapped(node)
    other.count = 5
    other.volume = make_volume().node
    assert one.count == 5
    assert one.volume is other.volume
    slicer.mrmlScene.RemoveNode(one.volume)
    assert one.volume is None


def test_unknown_files_and_properties_raise(slicer_host, tmp_path) -> None:
    import slicer

    assert slicer.app.coreIOManager().fileType("picture.png") == "NoFile"
    assert slicer.app.coreIOManager().fileType("a.SEG.NRRD") == "SegmentationFile"
    with pytest.raises(NotImplementedError):
        slicer.app.coreIOManager().loadNodes("VolumeFile", {"fileName": "x.nrrd", "center": True})
    with pytest.raises(NotImplementedError):
        slicer.app.coreIOManager().loadNodes("DICOMFile", {"fileName": "x"})


def test_effects_in_a_folder_of_slicers_name_are_refused(slicer_gui, tmp_path) -> None:
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    (tmp_path / "slicer").mkdir()
    file = tmp_path / "slicer" / "SomeEffect.py"
    file.write_text("class SomeEffect:\n    def __init__(self, scriptedEffect):\n        pass\n")
    with pytest.raises(AssertionError, match="Slicer's own module"):
        effects.qSlicerSegmentEditorScriptedEffect(None).setPythonSource(file.as_posix())
    assert not effects.qSlicerSegmentEditorScriptedEffect(None).setPythonSource("effect.txt")


def test_effects_cannot_call_what_is_not_there(slicer_gui) -> None:
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    with pytest.raises(AttributeError):
        effect.paintEverything()
    with pytest.raises(AttributeError):
        effect.colour = "red"


def test_base_test_class_runs_nothing_by_itself(slicer_host) -> None:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

    class SomeTest(ScriptedLoadableModuleTest):
        pass

    with pytest.raises(NotImplementedError, match="runTest"):
        SomeTest().runTest()


def test_the_product_does_not_know_the_stand_in() -> None:
    for path in (REPOSITORY / "SegmentAnythingMed").rglob("*.py"):
        assert not re.search(r"\bstandin\b", path.read_text(encoding="utf-8")), path


def test_the_page_names_every_file_of_the_stand_in() -> None:
    page = (REPOSITORY / "docs" / "testing-without-slicer.md").read_text(encoding="utf-8")
    names = {path.name for path in STANDIN.glob("*.py")} - {"__init__.py", "host.py", "qt_gate.py", "widget_base.py"}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
