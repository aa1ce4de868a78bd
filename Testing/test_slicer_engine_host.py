"""The worker's model and sessions: the same masks as the command line, edits that redo little, faults that end well."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import REPOSITORY
from SegmentAnythingMedLib.apps.pipelines import segment_volume
from SegmentAnythingMedLib.apps.slicer.engine_host import SESSIONS, EngineHost
from SegmentAnythingMedLib.apps.slicer.requests import (
    CandidatesRequest,
    Decided,
    EstimateRequest,
    Foretold,
    ModelChoice,
    PredictRequest,
    PropagateRequest,
    Scan,
)
from SegmentAnythingMedLib.apps.slicer.worker import Job, Worker
from SegmentAnythingMedLib.engine.step_down import FEWER
from SegmentAnythingMedLib.errors import Cancelled, DeviceError, ModelError, PromptError
from SegmentAnythingMedLib.files.images import load_volume
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, MaskPrompt, PointPrompt, StopMark, VolumePrompts
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from stub_model import StubModel, two_balls

FIRST, SECOND = BoxPrompt((9, 9, 10), (31, 31, 10)), PointPrompt((40, 44, 14))
STUB = ModelChoice("stub", "cpu")
BLADDER = BoxPrompt((122, 55, 14), (188, 111, 14))


def job() -> Job:
    return Job(lambda job: None, (), None, None)


def host_of(*models: StubModel, **options) -> EngineHost:
    left = list(models) or [StubModel()]
    return EngineHost(open_model=lambda name, device: left.pop(0), **options)


def balls(revision="1", spacing=(1.0, 1.0, 2.0)):
    volume, labels = two_balls(spacing)
    return Scan(volume, revision, window="100,160"), labels


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def propagate(host, scan, objects, one=None, **options):
    settings = options.pop("settings", PropagationSettings())
    return host.propagate(PropagateRequest(scan, STUB, objects, settings, **options), one or job())


class TestPredict:
    def test_every_prompted_slice_and_no_other(self):
        scan, labels = balls()
        result = host_of().predict(PredictRequest(scan, STUB, (FIRST, PointPrompt((20, 20, 12)))), job())
        assert sorted(result.masks) == sorted(result.marks) == [10, 12]
        assert dice(result.masks[10], labels[10] == 1) == 1
        assert (result.axis, result.completed, result.records[10].reason) == ("k", True, "seed")
        assert result.facts.model["sha256"] == "ab" * 32
        assert result.facts.intensity["lower"] == 20

    def test_slices_whose_prompts_are_known_are_left_alone(self):
        scan, _ = balls()
        host = host_of(model := StubModel())
        first = host.predict(PredictRequest(scan, STUB, (FIRST,)), job())
        decodes = model.decodes
        both = (FIRST, PointPrompt((20, 20, 12)))
        second = host.predict(PredictRequest(scan, STUB, both, known=first.marks), job())
        assert sorted(second.masks) == [12]
        assert sorted(second.marks) == [10, 12]
        assert second.marks[10] == first.marks[10]
        assert model.decodes > decodes

    def test_the_same_prompts_give_the_same_mask_whatever_came_before(self):
        scan, _ = balls()
        host, points = host_of(), (PointPrompt((20, 20, 10)), PointPrompt((22, 20, 10)))
        host.predict(PredictRequest(scan, STUB, points[:1]), job())
        late = host.predict(PredictRequest(scan, STUB, points), job()).masks[10]
        fresh = host_of().predict(PredictRequest(scan, STUB, points), job()).masks[10]
        assert np.array_equal(late, fresh)

    def test_prompts_that_cannot_be_used_are_refused_in_words(self):
        scan, _ = balls()
        with pytest.raises(PromptError) as caught:
            host_of().predict(PredictRequest(scan, STUB, (PointPrompt((20, 20, 10), 0),)), job())
        assert caught.value.code == "prompt.only_negative"
        with pytest.raises(PromptError) as caught:
            host_of().predict(PredictRequest(scan, STUB, ()), job())
        assert caught.value.code == "prompt.none"

    def test_cancel_between_slices_keeps_what_is_done(self):
        scan, _ = balls()
        one = job()
        host = host_of(StubModel(lambda count: one.cancel()))
        result = host.predict(PredictRequest(scan, STUB, (FIRST, BoxPrompt((9, 9, 12), (31, 31, 12)))), one)
        assert sorted(result.records) == [10]
        assert not result.completed
        two = job()
        two.cancel()
        with pytest.raises(Cancelled):
            host.predict(PredictRequest(scan, STUB, (FIRST,)), two)

    def test_candidates_of_a_slice(self):
        scan, _ = balls()
        request = CandidatesRequest(scan, STUB, (FIRST,), 10)
        found = host_of().candidates(request, job())
        assert len(found.masks) == len(found.predicted_iou) == 3
        with pytest.raises(PromptError, match="slice 11"):
            host_of().candidates(CandidatesRequest(scan, STUB, (FIRST,), 11), job())


class TestPropagate:
    def test_the_same_as_the_command_line(self, sample):
        volume = load_volume(sample / "ct.nii.gz")
        host, choice = EngineHost(), ModelChoice("built-in", "cpu")
        request = PropagateRequest(
            Scan(volume, "1"), choice, {"a": (BLADDER,)}, PropagationSettings(limits=None), limits=(11, 17)
        )
        ours = host.propagate(request, job()).results["a"]
        theirs = segment_volume(volume, [BLADDER], host.model, settings=PropagationSettings(limits=(11, 17)))
        assert ours.completed
        assert np.array_equal(ours.stack(), theirs.labels == 1)
        assert ours.to_json() == theirs.results["object"].to_json()

    def test_every_slice_is_told_when_it_is_decided(self):
        scan, _ = balls()
        result = propagate(host_of(), scan, {"a": (FIRST,), "b": (SECOND,)}, one := job())
        told = one.told()
        assert all(isinstance(item, Decided) and item.axis == "k" for item in told)
        for name in ("a", "b"):
            masks = {n: mask for item in told if item.name == name for n, (_, mask) in item.slices.items()}
            assert {n for n, mask in masks.items() if mask is not None} == set(result.results[name].masks)

    @pytest.mark.parametrize(("direction", "lowest", "highest"), [("both", 6, 14), ("up", 10, 14), ("down", 6, 10)])
    def test_directions(self, direction, lowest, highest):
        scan, _ = balls()
        found = propagate(host_of(), scan, {"a": (FIRST,)}, direction=direction).results["a"]
        assert (found.lower, found.upper) == (lowest, highest)

    def test_direction_counts_from_the_outermost_prompt_within_the_limits_of_each_object(self):
        scan, _ = balls()
        seeds = {"a": (FIRST, BoxPrompt((10, 10, 12), (30, 30, 12))), "b": (SECOND,)}
        found = propagate(host_of(), scan, seeds, direction="up", limits=(0, 16)).results
        assert (found["a"].lower, found["b"].lower) == (10, 14)
        assert (found["b"].upper, found["b"].end_upper) == (16, "limit")
        assert found["a"].records[11].reason == "blend"

    def test_an_object_that_cannot_be_used_does_not_stop_the_others(self):
        scan, _ = balls()
        result = propagate(host_of(), scan, {"a": (StopMark(3),), "b": (SECOND,)})
        assert list(result.results) == ["b"]
        assert result.errors["a"].code == "prompt.only_negative"
        with pytest.raises(PromptError):
            propagate(host_of(), scan, {"a": (StopMark(3),)})
        with pytest.raises(PromptError) as caught:
            propagate(host_of(), scan, {"a": (FIRST,)}, limits=(0, 4))
        assert caught.value.code == "prompt.outside_limits"

    def test_a_prompt_on_a_slice_redoes_only_what_depends_on_it_and_encodes_nothing(self):
        scan, _ = balls()
        host = host_of(model := StubModel())
        first = propagate(host, scan, {"a": (FIRST,), "b": (SECOND,)})
        decodes = model.decodes
        again = propagate(host, scan, {"a": (FIRST, BoxPrompt((10, 10, 12), (30, 30, 12))), "b": (SECOND,)})
        assert again.encodes == 0
        assert first.encodes > 0
        assert 0 < model.decodes - decodes < decodes
        assert all(again.results["b"].masks[n] is mask for n, mask in first.results["b"].masks.items())
        assert all(again.results["a"].masks[n] is first.results["a"].masks[n] for n in range(6, 11))
        afresh = propagate(host, scan, {"b": (SECOND,)}, reuse=False).results["b"]
        assert np.array_equal(afresh.stack(), first.results["b"].stack())

    def test_cancel_keeps_what_is_done_and_the_next_run_goes_on_from_there(self):
        scan, _ = balls()
        one = job()
        host = host_of(StubModel(lambda count: one.cancel() if count == 4 else None))
        part = propagate(host, scan, {"a": (FIRST,)}, one).results["a"]
        assert not part.completed
        assert 1 < len(part.masks) < 9
        whole = propagate(host, scan, {"a": (FIRST,)})
        assert whole.results["a"].completed
        assert len(whole.results["a"].masks) == 9

    def test_a_painted_slice_is_a_seed_that_stays_as_it_is(self):
        scan, labels = balls()
        drawn = labels[12] == 1
        drawn[0, 0] = True
        found = propagate(host_of(), scan, {"a": (FIRST, MaskPrompt(drawn, 12, "k"))}).results["a"]
        assert np.array_equal(found.masks[12], drawn)
        assert (found.records[12].reason, found.records[11].reason) == ("drawn", "blend")

    def test_what_was_done_before_an_error_has_been_told(self):
        scan, _ = balls()

        def fail(count):
            if count >= 5:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

        host, one = host_of(model := StubModel(fail)), job()
        with pytest.raises(DeviceError) as caught:
            propagate(host, scan, {"a": (FIRST,)}, one)
        assert caught.value.code == "device.memory"
        assert sum(len(item.slices) for item in one.told()) == 4
        model.before_decode = lambda count: None
        assert propagate(host, scan, {"a": (FIRST,)}).results["a"].completed, "the host lives on"

    def test_what_was_done_where_memory_was_short_is_told(self):
        scan, _ = balls()

        def fail(count):
            if count in (2, 9):
                raise MemoryError

        host = host_of(StubModel(fail))
        assert FEWER in host.predict(PredictRequest(scan, STUB, (FIRST, PointPrompt((20, 20, 12)))), job()).notes
        found = propagate(host, scan, {"a": (FIRST,)}).results["a"]
        assert found.completed
        assert FEWER in found.notes


class TestLife:
    def test_sessions_of_one_volume_are_used_again_and_others_let_go(self):
        host = host_of(model := StubModel())
        scans = [balls(str(n))[0] for n in range(SESSIONS + 2)]
        for scan in (*scans, scans[-1]):
            host.predict(PredictRequest(scan, STUB, (FIRST,)), job())
        assert len(host._sessions) == SESSIONS
        assert {session.volume for session in host._sessions.values()} == {scan.volume for scan in scans[2:]}
        assert {session.cache for session in host._sessions.values()} == {host._cache}
        assert all(session.model is model for session in host._sessions.values())

    def test_another_model_replaces_the_open_one(self):
        opened = []

        def open_model(name, device):
            opened.append((name, device))
            if name == "missing":
                raise ModelError("checkpoint.missing", "Not here.")
            return StubModel()

        host, (scan, _) = EngineHost(open_model=open_model), balls()
        for name in ("one", "one", "two"):
            host.predict(PredictRequest(scan, ModelChoice(name, "cpu"), (FIRST,)), job())
        with pytest.raises(ModelError):
            host.predict(PredictRequest(scan, ModelChoice("missing", "cpu"), (FIRST,)), job())
        assert host.model is None
        assert host.predict(PredictRequest(scan, ModelChoice("two", "cpu"), (FIRST,)), job()).masks
        assert [name for name, _ in opened] == ["one", "two", "missing", "two"]

    def test_forget_lets_go_of_images_and_keeps_the_model(self):
        scan, _ = balls()
        host = host_of(model := StubModel())
        propagate(host, scan, {"a": (FIRST,)})
        host.forget()
        assert (len(host._sessions), len(host._propagations), host._cache.nbytes) == (0, 0, 0)
        assert host.model is model
        assert propagate(host, scan, {"a": (FIRST,)}).results["a"].completed

    def test_prepare_opens_without_a_prompt(self):
        scan, _ = balls()
        host = host_of(model := StubModel())
        assert host.prepare(None, STUB, job()) is None
        assert host.model is model
        assert host.prepare(scan, STUB, job()).axis == "k"

    def test_what_a_walk_will_take_is_told_before_it_begins_where_slices_were_segmented(self):
        scan, _ = balls()
        host, one = host_of(model := StubModel()), job()
        host.predict(PredictRequest(scan, STUB, (FIRST,)), job())
        decodes = model.decodes
        propagate(host, scan, {"a": (FIRST,)}, one, limits=(4, 20))
        foretold, *decided = one.told()
        assert isinstance(foretold, Foretold)
        assert all(isinstance(item, Decided) for item in decided)
        assert foretold.cost["most_slices"] == 17
        assert 5 < foretold.cost["slices"] < 17
        assert 0 <= foretold.cost["seconds"] <= foretold.cost["most_seconds"]
        fresh = host_of(other := StubModel())
        propagate(fresh, scan, {"a": (FIRST,)}, limits=(4, 20))
        assert model.decodes - decodes == other.decodes, "nothing was tried for it"

    def test_estimate_before_a_propagation(self):
        scan, _ = balls()
        cost = host_of().estimate(EstimateRequest(scan, STUB, (3, 8)), job())
        assert cost["slices"] == 6
        assert cost["seconds"] == pytest.approx(6 * cost["seconds_per_slice"], abs=0.006)
        assert cost["memory_bytes"] > scan.volume.voxels.nbytes

    def test_it_works_in_the_worker_thread_and_the_thread_survives_its_errors(self):
        scan, labels = balls()
        threads, worker = set(), Worker()
        host = host_of(StubModel(lambda count: threads.add(threading.current_thread())))
        refused = worker.submit(host.predict, PredictRequest(scan, STUB, ()))
        done = worker.submit(host.predict, PredictRequest(scan, STUB, (FIRST,)))
        assert worker.wait(done, 30)
        assert refused.error.code == "prompt.none"
        assert dice(done.result.masks[10], labels[10] == 1) == 1
        assert threads == {worker.thread}
        assert worker.stop(5)

    def test_several_objects_equal_the_job_of_the_command_line(self):
        scan, _ = balls()
        ours = propagate(host_of(), scan, {"a": (FIRST,), "b": (SECOND,)})
        theirs = segment_volume(
            scan.volume, VolumePrompts({"a": [FIRST], "b": [SECOND]}), StubModel(), window="100,160"
        )
        for name in ("a", "b"):
            assert ours.results[name].to_json() == theirs.results[name].to_json()
            assert np.array_equal(ours.results[name].stack(), theirs.results[name].stack())


@pytest.mark.parametrize("name", ["engine_host", "requests", "plans", "worker"])
def test_the_rooms_load_neither_slicer_nor_torch(name):
    code = (
        f"import sys; import SegmentAnythingMedLib.apps.slicer.{name};"
        "print([m for m in ('torch', 'slicer', 'vtk', 'qt') if m in sys.modules])"
    )
    folder = REPOSITORY / "SegmentAnythingMed"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


@pytest.mark.parametrize(("package", "code"), [("torch", "model.torch"), ("safetensors", "model.package")])
def test_a_missing_package_is_said_in_words(package, code):
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from SegmentAnythingMedLib.apps.slicer.plans import import_engine\n"
        "try: import_engine()\n"
        "except Exception as error: print(error.code, '|', error)"
    )
    folder = REPOSITORY / "SegmentAnythingMed"
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert ran.stdout.startswith(f"{code} | Expected "), ran.stdout + ran.stderr
