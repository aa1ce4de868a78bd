"""Our form of SAM 2's memory attention gives its numbers, is used where it is meant to be, and can be switched off."""

from __future__ import annotations

import pytest
import torch
from SegmentAnythingMedLib.engine.memory_attention import AbsorbedMemoryAttention
from SegmentAnythingMedLib.engine.memory_network import MemoryNetwork
from tiny_sam2 import require_sam2


@pytest.fixture(scope="module")
def network():
    require_sam2()
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    torch.manual_seed(0)
    return build_sam2(Sam2Shape("tiny", "2.1", 128))


@pytest.mark.parametrize(("maps", "pointers", "grid"), [(1, 4, 8), (3, 0, 8), (7, 64, 8), (2, 8, 6)])
def test_numbers_are_those_of_the_official_module(network, maps, pointers, grid):
    module = network.memory_attention
    module.__dict__.pop("forward", None)
    tokens, memories = grid * grid, maps * grid * grid + pointers
    given = {
        "curr": [torch.randn(tokens, 1, 256)],
        "curr_pos": [torch.randn(tokens, 1, 256)],
        "memory": torch.randn(memories, 1, 64),
        "memory_pos": torch.randn(memories, 1, 64),
        "num_obj_ptr_tokens": pointers,
    }
    with torch.inference_mode():
        theirs, ours = module(**given), AbsorbedMemoryAttention(module)(**given)
    assert float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.max() - theirs.min())


def test_many_scores_are_computed_in_parts(network, monkeypatch):
    module = network.memory_attention
    module.__dict__.pop("forward", None)
    given = {
        "curr": torch.randn(64, 1, 256),
        "curr_pos": torch.randn(64, 1, 256),
        "memory": torch.randn(128, 1, 64),
        "memory_pos": torch.randn(128, 1, 64),
    }
    with torch.inference_mode():
        whole = AbsorbedMemoryAttention(module)(**given)
        monkeypatch.setattr("SegmentAnythingMedLib.engine.memory_attention._MOST_SCORES", 1000)
        parts = AbsorbedMemoryAttention(module)(**given)
    assert torch.allclose(whole, parts, atol=1e-5)


def test_it_is_used_on_a_cpu_in_float32_and_can_be_switched_off(network):
    names = set(network.state_dict())
    attention = network.memory_attention
    MemoryNetwork(network, "cpu", None, 5, "test")
    assert isinstance(attention.forward, AbsorbedMemoryAttention)
    MemoryNetwork(network, "cpu", torch.bfloat16, 5, "test")
    assert not isinstance(attention.forward, AbsorbedMemoryAttention)
    MemoryNetwork(network, "cpu", None, 5, "test")
    MemoryNetwork(network, "cpu", None, 5, "test", fast=False)
    assert not isinstance(attention.forward, AbsorbedMemoryAttention)
    assert set(network.state_dict()) == names


def test_another_arrangement_is_left_alone(network, monkeypatch):
    assert AbsorbedMemoryAttention.fits(network.memory_attention)
    monkeypatch.setattr(network.memory_attention.layers[0], "pos_enc_at_cross_attn_queries", True)
    assert not AbsorbedMemoryAttention.fits(network.memory_attention)
