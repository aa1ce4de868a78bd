"""What the user reads can be translated: the module's own sentences, and those that the library says in English."""

from __future__ import annotations

import ast
import re
import runpy

import pytest
from conftest import REPOSITORY
from controller_bench import Bench, bench
from standin import i18n

__all__ = ["bench"]
ROOM = REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMedLib" / "apps" / "slicer"
SCRIPT = REPOSITORY / "scripts" / "update_sentences.py"
# Their sentences are listed in ``sentences``: the worker's thread, and what a programmer reads in the console.
NOT_HERE = {
    "worker.py",
    "engine_host.py",
    "plans.py",
    "requests.py",
    "adapting.py",
    "console.py",
    "cases.py",
    "events.py",
    "graphics_driver.py",
}


def marked(_context: str, text: str) -> str:
    """A language in which every text stands in angle brackets."""
    return f"<{text}>"


@pytest.fixture
def brackets(slicer_host):
    """The language of brackets is loaded."""
    i18n.load(marked)
    yield
    i18n.load(None)


def test_an_error_of_the_library_is_translated_with_its_values(brackets) -> None:
    from SegmentAnythingMedLib.apps.slicer.saying import said
    from SegmentAnythingMedLib.errors import ModelError
    from SegmentAnythingMedLib.models.catalog import load_model

    with pytest.raises(ModelError) as caught:
        load_model("no-such-model-{}")
    assert said(caught.value) == f"<{caught.value}>"
    assert "no-such-model-{}" in said(caught.value)


def test_notes_and_labels_of_the_library_are_translated(brackets) -> None:
    from SegmentAnythingMedLib.apps.slicer.saying import said

    for words in ("Reading intensities", "The mask on slice 7 is empty and left out.", "Checking sam_vit_b.pth"):
        assert said(words) == f"<{words}>"
    assert said("Something else altogether") == "Something else altogether"


def test_english_comes_out_as_it_went_in(slicer_host) -> None:
    """Every form, filled with odd values."""
    from SegmentAnythingMedLib.apps.slicer import sentences
    from SegmentAnythingMedLib.apps.slicer.saying import said

    assert len(sentences.OTHERS) > 300
    for form in sentences.OTHERS:
        text = re.sub(r"\{(\w+)\}", r"<\1 {0}: 1,5\\n>", form).replace("{{", "{").replace("}}", "}")
        assert said(text) == text


def test_a_slip_of_a_translator_shows_english(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer.saying import said

    words = "The mask on slice 7 is empty and left out."
    for slip in ("Die Maske in {schicht} ist leer.", "Die Maske in {index", "{}"):
        i18n.load(lambda context, text, slip=slip: slip)
        assert said(words) == words


def test_the_context_is_the_file_that_lists_the_form(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer.saying import said

    seen = []
    i18n.load(lambda context, text: seen.append(context) or text)
    said("Reading intensities")
    assert seen == ["sentences.worker"]


def test_the_list_is_as_the_library_is(slicer_host) -> None:
    """A sentence that is new since the list was made is shown in English; there may be a few, not many."""
    from SegmentAnythingMedLib.apps.slicer import sentences

    made = runpy.run_path(str(SCRIPT))["listed"]()
    forms = {form for pairs in made.values() for _code, form in pairs}
    missing = sorted(forms - set(sentences.OTHERS))
    assert len(missing) <= len(forms) // 20, f"run: python scripts/update_sentences.py {missing}"


def test_the_module_says_nothing_that_is_not_translated(bench: Bench) -> None:
    """A run through prompts, propagation, a refusal, accept and reject: every sentence stands in brackets."""
    i18n.load(marked)
    controller = bench.controller
    from SegmentAnythingMedLib.apps.slicer.saying import said

    bench.prompt()
    bench.propagate()
    controller.accept()
    controller.reject()
    bench.place((bench.centre[0], bench.centre[1], 500))
    bench.run()
    bench.paint(2, None)
    controller.seed_from_segment()
    bench.controller.segment_id = "gone"
    controller.scene_closing()
    sentences = [*bench.of("status"), *bench.of("dropped")]
    for collected in bench.of("prompts"):
        sentences += collected.notes
    sentences += [said(error) for error in bench.of("error")]
    assert len(sentences) >= 4
    assert [words for words in sentences if not said(words).startswith("<")] == []


def sentences_of(path) -> list[tuple[int, str]]:
    """Sentences of a file that are not inside of ``_()``: lines and texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr | ast.JoinedStr):
            inner |= {id(part) for part in ast.iter_child_nodes(node)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            inner |= {id(part) for part in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        text = "*".join(texts)
        if id(node) not in inner and re.search(r"[a-z]{2,} [^.]*[a-z]{2,} .*[a-z]{2,}[.;]", text):
            found.append((node.lineno, text))
    return found


@pytest.mark.parametrize(
    "path", [path for path in sorted(ROOM.glob("*.py")) if path.name not in NOT_HERE], ids=lambda path: path.name
)
def test_sentences_stand_inside_of_the_translator(path) -> None:
    assert sentences_of(path) == []


def test_the_reader_sees_bare_sentences(tmp_path) -> None:
    path = tmp_path / "bad.py"
    path.write_text('raise InputError("a.b", f"Expected {n} of these; got none.")\nsay(_("All of it is well now."))\n')
    assert [line for line, _text in sentences_of(path)] == [1]
