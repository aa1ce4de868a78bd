"""Official SAM 2 networks with random weights, and files in the layouts in which their weights are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def require_sam2() -> None:
    """Skip the test by name where the optional package is not installed."""
    pytest.importorskip("sam2", reason="the optional package sam2 is not installed")


def official_sam2(size: str = "tiny", version: str = "2.1", image_size: int = 1024, seed: int = 0):
    """The network that the package builds from its own configuration files, weights random everywhere."""
    import sam2  # noqa: F401 (it tells hydra where the configuration files are)
    from hydra import compose
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    folder = "sam2" if version == "2.0" else "sam2.1"
    stability = "++model.sam_mask_decoder_extra_args.dynamic_multimask"
    overrides = [
        f"++model.image_size={image_size}",
        f"{stability}_via_stability=true",
        f"{stability}_stability_delta=0.05",
        f"{stability}_stability_thresh=0.98",
    ]
    config = compose(config_name=f"configs/{folder}/{folder}_hiera_{SIZES[size]}.yaml", overrides=overrides)
    OmegaConf.resolve(config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = instantiate(config.model, _recursive_=True)
        with torch.no_grad():  # tables of positions start at zero and would hide mistakes
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.02)
    return network.eval().requires_grad_(False)


def save_official(path: Path, network) -> Path:
    """A file as published: the parameters under ``model``."""
    torch.save({"model": network.state_dict()}, path)
    return path


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """uint8 noise with a bright disc."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    disc = (rows - shape[0] / 2) ** 2 + (cols - shape[1] / 3) ** 2 < (min(shape[:2]) / 4) ** 2
    image = rng.integers(0, 120, shape) + 100 * disc.reshape(*disc.shape, *([1] * (len(shape) - 2)))
    return image.astype(np.uint8)
