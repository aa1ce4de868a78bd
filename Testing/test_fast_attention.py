"""The encoder's fast forms against the stock modules, random weights."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from SegmentAnythingMedLib.models import fast_attention
from SegmentAnythingMedLib.models.fast_attention import accelerate_encoder, fused_attention, restore_encoder


def encoder(size: int = 128, width: int = 64, heads: int = 2, window: int = 5, **options) -> ImageEncoderViT:
    """Two blocks: one in windows, one that sees everything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = ImageEncoderViT(
            img_size=size, embed_dim=width, depth=2, num_heads=heads, window_size=window, global_attn_indexes=(1,),
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, **options,
        )  # fmt: skip
        with torch.no_grad():  # tables of positions start at zero and would hide mistakes
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.05)
    return made.eval().requires_grad_(False)


def pictures(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the range."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))


@pytest.mark.parametrize("scores", [1, 8 * 64 * 2, 1 << 21], ids=["a row", "two rows", "everything"])
@pytest.mark.parametrize("window", [4, 5], ids=["whole windows", "padded windows"])
def test_equals_the_stock_encoder(monkeypatch, scores, window):
    monkeypatch.setattr(fast_attention, "_SCORES", scores)
    monkeypatch.setattr(fast_attention, "_CHUNK", 48)
    stock, fast, inputs = encoder(window=window), encoder(window=window), pictures(2, 128)
    assert accelerate_encoder(fast)
    assert fast.state_dict().keys() == stock.state_dict().keys()
    assert difference(fast(inputs), stock(inputs)) <= 1e-5


def test_equals_the_stock_encoder_at_the_size_of_vit_b():
    """1024 pixels, 768 channels, 12 heads, windows of 14 in a map of 64: one block of each kind."""
    network, inputs = encoder(1024, 768, 12, 14), pictures(1, 1024)
    theirs = network(inputs)
    accelerate_encoder(network)
    assert difference(network(inputs), theirs) <= 1e-5


def test_without_onednn(monkeypatch):
    monkeypatch.setattr(fast_attention, "_onednn", lambda: None)
    stock, fast = encoder(), encoder()
    accelerate_encoder(fast)
    assert difference(fast(pictures(1, 128)), stock(pictures(1, 128))) <= 1e-5


@pytest.mark.parametrize("fault", ["missing", "other signature", "other numbers"])
def test_an_undocumented_function_that_changed_is_not_used(monkeypatch, fault):
    def changed(x, weight, bias, kind, scalars, algorithm):
        return x

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    new = {
        "missing": {},
        "other signature": {"_linear_pointwise": lambda x: x},
        "other numbers": {"_linear_pointwise": changed},
    }
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**new[fault]))
    assert fast_attention._onednn.__wrapped__() is None


def test_gradients_flow_where_weights_learn():
    network = encoder()
    accelerate_encoder(network)
    network.blocks.requires_grad_(True)
    network(pictures(1, 128)).sum().backward()
    assert all(bool(block.attn.qkv.weight.grad.abs().sum() > 0) for block in network.blocks)


def test_another_activation_is_left_as_it_is():
    stock, fast = encoder(act_layer=torch.nn.ReLU), encoder(act_layer=torch.nn.ReLU)
    accelerate_encoder(fast)
    assert difference(fast(pictures(1, 128)), stock(pictures(1, 128))) <= 1e-5


def test_projections_without_bias():
    stock, fast = encoder(qkv_bias=False), encoder(qkv_bias=False)
    accelerate_encoder(fast)
    assert difference(fast(pictures(1, 128)), stock(pictures(1, 128))) <= 1e-5


def test_there_is_a_way_back():
    network, inputs = encoder(), pictures(1, 128)
    before = network(inputs)
    accelerate_encoder(network)
    assert not torch.equal(network(inputs), before), "rounding differs, or nothing was replaced"
    restore_encoder(network)
    assert torch.equal(network(inputs), before)


def test_the_input_is_left_as_it_is():
    block = encoder().blocks[0]
    accelerate_encoder(torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([block])}).requires_grad_(False))
    tokens = torch.randn(1, 8, 8, 64)
    kept = tokens.clone()
    block(tokens)
    assert torch.equal(tokens, kept)


def test_encoders_without_such_blocks_are_left_alone():
    assert not accelerate_encoder(torch.nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("limit", [1, 2 * 2 * 8 * 8 * 8, 1 << 24])
def test_fused_attention_equals_stock_attention(monkeypatch, limit):
    monkeypatch.setitem(fast_attention._BIAS_ELEMENTS, "cpu", limit)
    attention, tokens = encoder().blocks[1].attn, torch.randn(2, 8, 8, 64)
    assert difference(fused_attention(attention, tokens), attention(tokens)) <= 1e-5


def test_reduced_precision_takes_the_fused_form():
    stock, fast, inputs = encoder(), encoder(), pictures(1, 128)
    accelerate_encoder(fast)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fast(inputs)
    assert 1e-6 < difference(found.float(), stock(inputs)) < 5e-2
