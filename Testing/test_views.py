"""Views: stored pixels outside, shown pixels inside; tokens with the cells that show nothing marked."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib import Session, load_model
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.views import square_region, view
from SegmentAnythingMedLib.errors import InputError, ModelError
from SegmentAnythingMedLib.models.frame import Frame, Region, shown_cells
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2

SPACING = (1.0, 1.5, 4.0)


def volume(direction=None):
    voxels = np.random.default_rng(0).integers(0, 200, (3, 40, 60)).astype(np.int16)
    return Volume(voxels, Affine.from_parts(SPACING, (0, 0, 0), direction), modality="MR")


@pytest.fixture(scope="module")
def sam():
    return SamModel(stock_sam(), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=2)))
@pytest.mark.parametrize("transpose", [False, True])
def test_points_masks_boxes_and_regions_turn_together(signs, transpose):
    axes = np.eye(3)[:, [1, 0, 2]] if transpose else np.eye(3)
    session = Session(volume(axes * np.array([*signs, 1.0])), StubModel(), axis="k")
    region = Region(4, 10, 24, 50)
    seen = view(session, 1, region)
    mask = np.zeros(session.shape, dtype=bool)
    mask[7, 13] = True
    (row,), (col,) = np.nonzero(seen.show(mask))
    assert np.array_equal(seen.show_points([(13, 7)]), [(col, row)])
    assert np.array_equal(seen.store_points([(col, row)]), [(13, 7)])
    assert np.array_equal(seen.store(seen.show(mask)), mask)
    shown = np.zeros(seen.frame.slice_shape, dtype=bool)
    window = seen.frame.region
    shown[window.row0 : window.row1, window.col0 : window.col1] = True
    wanted = np.zeros(session.shape, dtype=bool)
    wanted[region.row0 : region.row1, region.col0 : region.col1] = True
    assert np.array_equal(seen.store(shown), wanted)
    assert seen.show_box((12.5, 6.5, 13.5, 7.5)) == (col - 0.5, row - 0.5, col + 0.5, row + 0.5)


def test_square_regions_show_equally_many_mm_of_both_visits():
    coarse, fine = (
        Session(Volume(np.zeros((2, 300, 300), np.int16), Affine.from_parts(s, (0, 0, 0), None)), StubModel(), axis="k")
        for s in ((0.9, 0.9, 3.0), (0.5, 0.7, 3.0))
    )
    for session in (coarse, fine):
        region = square_region(session, (150.0, 140.0), 60.0)
        dy, dx = session.pixel_spacing
        assert 60 <= region.height * dy <= 60 * 1.08 + 2 * dy
        assert abs(region.height * dy - region.width * dx) <= 2 * max(dy, dx)
        assert abs((region.col0 + region.col1) / 2 - 150.5) <= 1


def test_tokens_of_sam_are_its_embedding_and_padding_is_not_valid(sam):
    session = Session(volume(), sam, axis="k")  # 40 rows of 1.5 mm: 60 mm x 60 mm, no padding
    seen = view(session, 0)
    assert seen.tokens.shape == (8, 8, 256)
    assert seen.tokens.dtype == np.float32
    assert np.array_equal(seen.tokens[2, 5], seen.features.tensors["image_embedding"][:, 2, 5].astype(np.float32))
    assert seen.valid.all()
    wide = Session(
        Volume(np.zeros((1, 40, 80), np.int16), Affine.from_parts((1, 1, 1), (0, 0, 0), None)), sam, axis="k"
    )
    assert np.array_equal(view(wide, 0).valid, np.arange(8)[:, None].repeat(8, 1) < 4)


def test_cells_beyond_the_slice_are_not_valid():
    frame = Frame.squash((40, 60), 64, Region(-20, 0, 20, 40))
    assert np.array_equal(shown_cells(frame, (8, 8)), np.arange(8)[:, None].repeat(8, 1) >= 4)


def test_tokens_of_the_built_in_model():
    seen = view(Session(volume(), load_model("built-in", device="cpu")), 1, Region(-10, 0, 30, 60))
    assert seen.tokens.shape == (16, 16, 128)
    assert not seen.valid[0].any()
    assert seen.valid[-1].all()
    rows, cols = seen.token_mm
    assert rows == pytest.approx(40 * 1.5 / 16)
    assert cols == pytest.approx(60 / 16)


def test_a_view_decodes_in_shown_pixels_and_is_counted(sam):
    session = Session(volume(), sam, axis="k")
    prompts = SlicePrompts(np.array([(20.0, 10.0)]), np.array([1]))
    answer = view(session, 2).decode(prompts)
    assert session.counters.decodes == 1
    plain = sam.decode(session.features(2, None), prompts)
    assert np.array_equal(answer.logits, plain.logits)
    assert torch.is_inference_mode_enabled() is False


def test_a_model_without_tokens_says_so():
    seen = view(Session(volume(), StubModel()), 0)
    with pytest.raises(ModelError) as caught:
        _ = seen.tokens
    assert caught.value.code == "model.no_tokens"


def test_a_reference_mask_of_another_shape_is_refused():
    seen = view(Session(volume(), StubModel(), axis="k"), 0)
    with pytest.raises(InputError) as caught:
        Reference(seen, np.zeros((5, 5), bool))
    assert caught.value.code == "reference.mask"


def test_tokens_of_sam2_are_its_map_without_the_embedding_of_no_memory():
    require_sam2()
    from SegmentAnythingMedLib.models.sam2 import Sam2Model
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_sam2(Sam2Shape("tiny", "2.1", 128))
        network.no_mem_embed.data += 5.0
    model = Sam2Model(network, ModelInfo("tiny2", "sam2", "t", "ef" * 32, "tiny.pt", "Apache-2.0"))
    frame = model.frame((40, 80), (1.0, 1.0))
    picture = np.random.default_rng(0).random((40, 80)).astype(np.float32)
    features = model.encode([picture], [frame])[0]
    tokens = model.tokens(features)
    assert tokens.shape == (8, 8, 256)
    assert np.array_equal(tokens.transpose(2, 0, 1), features.tensors["image_embedding"].numpy())
    assert model.tokens_valid(features).all()  # stretched, not padded
    assert model.negatives_cap == 3
