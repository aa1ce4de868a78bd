"""The official SAM2VideoPredictor, fed from memory with the frames that a session shows its model."""

from __future__ import annotations

import hashlib
from unittest import mock

import numpy as np
import torch
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.preparation import to_uint8
from SegmentAnythingMedLib.models.sam2 import Sam2Model
from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

INFO = ModelInfo("random", "sam2", "tiny-2.1", "0" * 64, "test", "Apache-2.0")
STABILITY = "++model.sam_mask_decoder_extra_args.dynamic_multimask"


def official_video(version: str = "2.1", image_size: int = 128, seed: int = 0, *, quick: bool = True):
    """Tiny, from the package's own configuration, weights random everywhere; objects are present on every slice.

    ``quick`` keeps the features of slices seen before, which the predictor itself does not.
    """
    import sam2  # tells hydra where the configuration files are  # noqa: F401
    from hydra import compose
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    folder = "sam2" if version == "2.0" else "sam2.1"
    overrides = [
        "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor",
        f"++model.image_size={image_size}",
        f"{STABILITY}_via_stability=true",
        f"{STABILITY}_stability_delta=0.05",
        f"{STABILITY}_stability_thresh=0.98",
        "++model.binarize_mask_from_pts_for_mem_enc=true",
        "++model.add_all_frames_to_correct_as_cond=true",
    ]
    config = compose(config_name=f"configs/{folder}/{folder}_hiera_t.yaml", overrides=overrides)
    OmegaConf.resolve(config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = instantiate(config.model, _recursive_=True)
        with torch.no_grad():
            for parameter in network.parameters():  # tables of positions start at zero and would hide mistakes
                parameter.add_(torch.randn(parameter.shape) * 0.03)
            network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(2.0)
    # Without pointers (a slice before the first prompt) its bfloat16 memory meets float32 weights, and it crashes.
    network.memory_attention.register_forward_pre_hook(_in_float32, with_kwargs=True)
    if quick:
        network.forward_image = _remembering(network.forward_image)
    return network.eval().requires_grad_(False)


def _remembering(encode):
    """It keeps the features of one slice and encodes again and again; the tests have no time for that."""
    known: dict[str, dict] = {}

    def remembered(image: torch.Tensor) -> dict:
        key = hashlib.blake2b(image.numpy().tobytes(), digest_size=16).hexdigest()
        if key not in known:
            known[key] = encode(image)
        return dict(known[key])

    return remembered


def _in_float32(_: torch.nn.Module, arguments: tuple, named: dict) -> tuple[tuple, dict]:
    return arguments, {**named, "memory": named["memory"].float()}


def our_model(official, version: str = "2.1") -> Sam2Model:
    """Our model with the weights of the official predictor."""
    network = build_sam2(Sam2Shape("tiny", version, official.image_size))
    network.load_state_dict(official.state_dict())
    return Sam2Model(network, INFO)


def moody(official, session: Session):
    """The same network with an object score that moves, about zero on slices tracked from a box in the middle."""
    head = official.sam_mask_decoder.pred_obj_score_head.layers[-1]
    head.weight.mul_(-20)
    state = state_of(official, session)
    official.add_new_points_or_box(state, session.count // 2, "a", box=[18, 13, 42, 37])
    passes(official, state, False)
    outputs = state["output_dict_per_obj"][0]["non_cond_frame_outputs"].values()
    head.bias.sub_(float(np.median([float(output["object_score_logits"]) for output in outputs])))
    return official


def blobs(count: int = 12, shape: tuple[int, int] = (80, 96), seed: int = 0) -> Volume:
    """Noise with two bright tubes that lean different ways; spacing 1 x 1 x 2 mm."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices(shape)
    voxels = rng.normal(0, 12, (count, *shape))
    for n in range(count):
        voxels[n] += 120 * ((rows - 25 - n) ** 2 + (cols - 30 - n) ** 2 < 12**2)
        voxels[n] += 80 * ((rows - 50) ** 2 + (cols - 75 + n) ** 2 < 9**2)
    return Volume(voxels.astype(np.float32), Affine.from_parts(spacing=(1, 1, 2)))


def shown_frames(session: Session) -> torch.Tensor:
    """float32 [N, 3, S, S]: every slice as the network of a session gets it."""
    model = session.model
    frames = torch.empty(session.count, 3, model.image_size, model.image_size)
    for index in range(session.count):
        image = session.orientation.show(session.stack.image(index))
        frame = model.frame(image.shape[:2], session.orientation.pair(session.pixel_spacing))
        frames[index] = model._preparation.prepare(to_uint8(session.mapping.apply(image)), frame)
    return frames


def state_of(official, session: Session) -> dict:
    """A state of the official predictor with the slices of a session as its film."""
    film = shown_frames(session), *session.orientation.pair(session.shape)
    with mock.patch("sam2.sam2_video_predictor.load_video_frames", return_value=film):
        return official.init_state("in memory")


def passes(official, state: dict, reverse: bool, **options) -> dict[int, dict[str, np.ndarray]]:
    """Object -> slice -> logits [H, W] of one pass."""
    found: dict = {}
    for index, names, logits in official.propagate_in_video(state, reverse=reverse, **options):
        for name, one in zip(names, logits, strict=True):
            found.setdefault(name, {})[index] = one[0].numpy()
    return found
