"""PerSAM's guidance in the decoders: against a literal copy of what is published, and nothing changed without it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.models.guidance import GuidedTransformer, guided_decoder
from SegmentAnythingMedLib.models.interface import ModelInfo, TargetGuidance
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2

GRID = 8


@pytest.fixture(scope="module")
def network():
    return stock_sam()


def guidance(width=256, seed=3):
    rng = np.random.default_rng(seed)
    attention = rng.random((GRID, GRID)).astype(np.float32)
    return TargetGuidance(attention, rng.normal(size=width).astype(np.float32))


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    image, code = (torch.randn(1, 256, GRID, GRID, generator=generator) for _ in range(2))
    return image, code, torch.randn(1, 7, 256, generator=generator)


def as_published(stock, image, code, tokens, asked):
    """The released code's order of events, with its in-place addition; the first decode of PerSAM."""
    transformer = copy.deepcopy(stock)
    weights = torch.from_numpy(asked.attention).reshape(1, 1, 1, -1)

    def twice_normalised(attention):
        def forward(q, k, v):
            heads = [attention._separate_heads(part, attention.num_heads) for part in (
                attention.q_proj(q), attention.k_proj(k), attention.v_proj(v)
            )]  # fmt: skip
            scores = torch.einsum("bhqc,bhkc->bhqk", heads[0], heads[1]) / math.sqrt(heads[0].shape[-1])
            chosen = F.softmax(F.softmax(scores, dim=-1) + weights, dim=-1)
            return attention.out_proj(attention._recombine_heads(chosen @ heads[2]))

        return forward

    for layer in transformer.layers:
        layer.cross_attn_token_to_image.forward = twice_normalised(layer.cross_attn_token_to_image)
    more = torch.from_numpy(asked.embedding)
    keys, code = (part.flatten(2).permute(0, 2, 1) for part in (image, code))
    queries = point_embedding = tokens.clone()  # one tensor under two names
    for layer in transformer.layers:
        queries += more
        queries, keys = layer(queries=queries, keys=keys, query_pe=point_embedding, key_pe=code)
    q = queries + point_embedding + more
    queries = queries + transformer.final_attn_token_to_image(q=q, k=keys + code, v=keys)
    return transformer.norm_final_attn(queries), keys


def test_guidance_is_the_published_one(network):
    stock = network.mask_decoder.transformer
    with torch.no_grad():
        ours = GuidedTransformer(stock, guidance())(*inputs())
        theirs = as_published(stock, *inputs(), guidance())
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_without_guidance_the_guided_code_computes_the_same_as_the_stock_one(network):
    stock = network.mask_decoder.transformer
    with torch.no_grad():
        ours, theirs = GuidedTransformer(stock, TargetGuidance())(*inputs()), stock(*inputs())
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert guided_decoder(network.mask_decoder, None) is network.mask_decoder
    assert guided_decoder(network.mask_decoder, TargetGuidance()) is network.mask_decoder


def test_guidance_leaves_the_network_as_it_was(network):
    decoder = network.mask_decoder
    guided = guided_decoder(decoder, guidance())
    assert type(decoder.transformer) is not GuidedTransformer
    assert type(guided.transformer) is GuidedTransformer
    assert guided.transformer.stock is decoder.transformer


def assert_guided(model, width):
    """Each part of the guidance changes the answer, and nothing of it stays behind."""
    frame = model.frame((96, 96), (1.0, 1.0))
    picture = np.random.default_rng(0).random((96, 96)).astype(np.float32)
    features = model.encode([picture], [frame])[0]
    prompts = SlicePrompts(np.array([(40.0, 50.0)]), np.array([1]))

    def decoded(asked):
        return model.decode(features, prompts, guidance=asked).logits

    attention, embedding = TargetGuidance(guidance().attention), TargetGuidance(None, guidance(width).embedding)
    answers = [decoded(asked) for asked in (None, attention, embedding, guidance(width))]
    assert all(np.isfinite(answer).all() for answer in answers)
    assert all(np.abs(a - b).max() > 1e-3 for n, a in enumerate(answers) for b in answers[:n])
    assert np.allclose(decoded(None), answers[0], atol=1e-4)


def test_sam_follows_guidance(network):
    assert_guided(SamModel(network, ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT")), 256)


def test_the_built_in_model_follows_guidance():
    assert_guided(load_model("built-in", device="cpu"), 128)


def test_sam2_follows_guidance():
    require_sam2()
    from SegmentAnythingMedLib.models.sam2 import Sam2Model
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_sam2(Sam2Shape("tiny", "2.1", 128))
    assert_guided(Sam2Model(network, ModelInfo("tiny2", "sam2", "t", "ef" * 32, "tiny.pt", "Apache-2.0")), 256)
