"""Rules of a Slicer module that can be read from its files, without Slicer: imports, translation, panel, life cycle."""

from __future__ import annotations

import ast
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

MODULE_FILE = REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMed.py"
ROOM = REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMedLib" / "apps" / "slicer"
UI_FILE = REPOSITORY / "SegmentAnythingMed" / "Resources" / "UI" / "SegmentAnythingMed.ui"
EFFECT_FILE = MODULE_FILE.parent / "SegmentAnythingMedEffect" / "SegmentEditorSegmentAnythingEffect.py"
FILES = [MODULE_FILE, EFFECT_FILE, *sorted(ROOM.rglob("*.py"))]
SLICER_PACKAGES = {"slicer", "qt", "ctk", "vtk"}
AT_FILE_SCOPE = SLICER_PACKAGES | {"numpy", "SegmentAnythingMedLib", "SegmentEditorEffects"}
# Who may know the widgets, and who must not know the application at all: its code runs in the worker thread.
WITH_QT = ("panel", "slice_table", "shortcuts", "placing", "parameters", "effect", "quitting")
WITHOUT_SLICER = ("worker", "engine_host", "plans", "requests", "requirements", "graphics_driver", "adapting")
INSTALLERS = {"pip_install", "pip_ensure", "pip_uninstall", "installTorch", "ensure_ready", "ensure_sam2"}
SLOW_CALLS = INSTALLERS | {"urlretrieve", "urlopen", "load_model", "run", "Popen", "check_call", "import_engine"}
SHOWN_PROPERTIES = {"text", "toolTip", "title", "windowTitle", "placeholderText", "statusTip"}
SHOWN_SETTERS = {
    "setText",
    "setToolTip",
    "setTitle",
    "setWindowTitle",
    "setPlaceholderText",
    "errorDisplay",
    "infoDisplay",
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def at_file_scope(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import; not those for type checkers."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def packages(nodes: Iterator[ast.AST]) -> set[str]:
    """Top-level packages from outside the standard library that some import statements name."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names)


def called(node: ast.Call) -> str:
    """Last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def strings_shown(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions that a user reads: set as text, tool tip or title."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in SHOWN_PROPERTIES:
                    yield node.value
        elif isinstance(node, ast.Call) and called(node) in SHOWN_SETTERS and node.args:
            yield node.args[0]


def is_bare_text(node: ast.expr) -> bool:
    """A text with letters that is not translated."""
    if isinstance(node, ast.JoinedStr):
        return any(is_bare_text(part) for part in node.values if isinstance(part, ast.Constant))
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return False
    return any(letter.isalpha() for letter in node.value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
class TestEveryFile:
    def test_imports_no_third_party_at_file_scope(self, path: Path) -> None:
        assert packages(at_file_scope(tree_of(path))) <= AT_FILE_SCOPE

    def test_knows_the_application_only_where_it_may(self, path: Path) -> None:
        used = packages(ast.walk(tree_of(path)))
        if path.stem in WITHOUT_SLICER:
            assert not used & SLICER_PACKAGES
        if path != MODULE_FILE and not path.stem.startswith(WITH_QT):
            assert not used & {"qt", "ctk"}

    def test_installs_and_downloads_nothing_on_import_or_in_setup(self, path: Path) -> None:
        tree = tree_of(path)
        running = [node for node in at_file_scope(tree) if isinstance(node, ast.Expr | ast.Assign)]
        running += [function for function in functions(tree) if function.name in ("__init__", "setup")]
        assert {called(call) for node in running for call in calls(node)} & SLOW_CALLS == set()

    def test_torch_comes_through_its_extension_alone(self, path: Path) -> None:
        for call in calls(tree_of(path)):
            if called(call) in ("pip_install", "pip_ensure"):
                assert path.stem == "install"
                assert "torch" not in ast.unparse(call).lower().replace("skip_packages=list(kept)", "")

    def test_translates_constant_texts_only(self, path: Path) -> None:
        for call in calls(tree_of(path)):
            if isinstance(call.func, ast.Name) and call.func.id == "_":
                (text,) = call.args
                assert isinstance(text, ast.Constant), f"line {call.lineno}: format after translating"
                assert isinstance(text.value, str)

    def test_does_not_reuse_the_translator_as_a_variable(self, path: Path) -> None:
        tree = tree_of(path)
        if not any(isinstance(node, ast.alias) and node.asname == "_" for node in ast.walk(tree)):
            return  # does not translate
        stored = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)
        ]
        stored += [node.lineno for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg == "_"]
        assert stored == []

    def test_shows_translated_texts_only(self, path: Path) -> None:
        assert [node.lineno for node in strings_shown(tree_of(path)) if is_bare_text(node)] == []

    def test_makes_shortcuts_on_entering_only(self, path: Path) -> None:
        for function in functions(tree_of(path)):
            if function.name in ("__init__", "setup"):
                assert "QShortcut" not in {called(call) for call in calls(function)}

    def test_has_no_event_loop_of_its_own(self, path: Path) -> None:
        """A loop around processEvents runs slots inside slots: a double click becomes two runs."""
        assert "processEvents" not in {called(call) for call in calls(tree_of(path))}


def test_names_of_slicer_exist(slicer_gui) -> None:
    import slicer

    assert len(FILES) > 30
    owners = {"slicer": slicer, "slicer.util": slicer.util}
    wrong = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            owner = owners.get(ast.unparse(node.value)) if isinstance(node, ast.Attribute) else None
            if owner is not None and not hasattr(owner, node.attr):
                wrong.append(f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_module_file_defines_what_slicer_looks_for() -> None:
    tree = tree_of(MODULE_FILE)
    classes = {
        node.name: {function.name for function in functions(node)}
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    assert {
        "SegmentAnythingMed",
        "SegmentAnythingMedWidget",
        "SegmentAnythingMedLogic",
        "SegmentAnythingMedTest",
    } <= set(classes)
    life = {"setup", "enter", "exit", "cleanup", "onSceneStartClose", "onSceneEndClose"}
    assert life <= classes["SegmentAnythingMedWidget"]
    assert "runTest" in classes["SegmentAnythingMedTest"], "older base classes run no test by themselves"


def ui_widgets() -> dict[str, ET.Element]:
    return {widget.get("name"): widget for widget in ET.parse(UI_FILE).iter("widget")}


def parameter_names() -> set[str]:
    (parameters,) = [
        node for node in tree_of(ROOM / "parameters.py").body if isinstance(node, ast.ClassDef) and node.decorator_list
    ]
    return {node.target.id for node in parameters.body if isinstance(node, ast.AnnAssign)}


def test_panel_file_is_rooted_in_a_scene_widget() -> None:
    root = ET.parse(UI_FILE).getroot()
    assert root.find("widget").get("class") == "qMRMLWidget"
    names = [element.get("name") for element in root.iter() if element.tag in ("widget", "layout")]
    assert len(names) == len(set(names))


def test_every_scene_widget_gets_the_scene() -> None:
    root = ET.parse(UI_FILE).getroot()
    top = root.find("widget").get("name")
    wanted = {name for name, widget in ui_widgets().items() if widget.get("class").startswith("qMRML")} - {top}
    connected = {
        entry.findtext("receiver")
        for entry in root.iter("connection")
        if (entry.findtext("sender"), entry.findtext("signal"), entry.findtext("slot"))
        == (top, "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)")
    }
    assert wanted
    assert wanted <= connected


def test_bound_widgets_name_parameters_that_exist() -> None:
    named = [
        entry.findtext("string")
        for widget in ui_widgets().values()
        for entry in widget.findall("property")
        if entry.get("name") == "SlicerParameterName"
    ]
    assert named
    assert len(named) == len(set(named))
    assert set(named) <= parameter_names()


def test_widgets_that_the_code_uses_are_in_the_panel_file() -> None:
    there = set(ui_widgets()) | {layout.get("name") for layout in ET.parse(UI_FILE).iter("layout")}
    used = set()
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self.ui", "ui", "self._ui"):
                used.add(node.attr)
    assert len(used) > 20
    assert sorted(used - there) == []


def test_texts_of_the_panel_are_not_empty_promises() -> None:
    """Every button says what it does, and has a tool tip."""
    for name, widget in ui_widgets().items():
        if widget.get("class") in ("QPushButton", "QToolButton", "QCheckBox"):
            shown = {entry.get("name"): entry.findtext("string") for entry in widget.findall("property")}
            assert shown.get("text") or shown.get("icon"), name
            assert shown.get("toolTip"), name


BAD = """
import torch
from slicer.i18n import tr as _
slicer.util.pip_install("x")
def setup(self):
    qt.QShortcut(key, self)
    self.button.text = "Run"
    self.label.setText(_(f"{n} slices"))
    for _ in range(3):
        slicer.app.processEvents()
"""


def test_the_rules_can_see() -> None:
    """The readers above find every mistake of a bad file."""
    tree = ast.parse(BAD)
    assert packages(at_file_scope(tree)) - AT_FILE_SCOPE == {"torch"}
    assert {"pip_install", "processEvents", "QShortcut"} <= {called(call) for call in calls(tree)}
    assert [is_bare_text(node) for node in strings_shown(tree)] == [True, False]
    assert is_bare_text(ast.parse('f"{n} slices"').body[0].value)
    assert not is_bare_text(ast.parse('f"{n}/{m}"').body[0].value)
    translated = [call.args[0] for call in calls(tree) if called(call) == "_"]
    assert [type(text) for text in translated] == [ast.JoinedStr]


def test_every_control_of_the_panel_is_used_by_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    shown = {"QLabel", "QProgressBar", "ctkCollapsibleButton", "qMRMLWidget"}
    unused = []
    for name, widget in ui_widgets().items():
        bound = [
            entry.findtext("string")
            for entry in widget.findall("property")
            if entry.get("name") == "SlicerParameterName"
        ]
        if widget.get("class") not in shown and not any(word in tests for word in (name, *bound)):
            unused.append(name)
    assert unused == []


# Windows that wait for an answer; logic raises, the panel asks.
POP_UPS = {"confirmOkCancelDisplay", "confirmYesNoDisplay", "errorDisplay", "infoDisplay", "messageBox", "QMessageBox"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_panel_asks(path: Path) -> None:
    asks = {called(call) for call in calls(tree_of(path))} & POP_UPS
    assert not asks or path.stem.startswith(("panel", "quitting", "install"))
