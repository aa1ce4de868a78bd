"""micro-sam's volume segmentation for ``bench_peers.py``: the package itself, or its steps on ``SamPredictor``."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

Box = tuple[float, float, float, float]
IOU = 0.3
"""Below, a walk ends; the usual 0.5 would end it within the short, round objects of the phantom."""
SIDE = 1024
_LOGIT = float(np.log(0.999 / 0.001))


class MicroSam:
    """The package ``micro_sam``: embeddings of the whole volume, then one object after the other."""

    def __init__(self, weights: Path) -> None:
        import micro_sam
        from micro_sam import multi_dimensional_segmentation, prompt_based_segmentation, util

        self.name = f"micro-sam {micro_sam.__version__}"
        self._util, self._volumes, self._prompts = util, multi_dimensional_segmentation, prompt_based_segmentation
        with contextlib.redirect_stdout(io.StringIO()):
            self._predictor = util.get_sam_model("vit_b", device="cpu", checkpoint_path=str(weights))

    def embed(self, voxels: np.ndarray) -> Any:
        """Embeddings of all slices of uint8 [K, J, I]."""
        return self._util.precompute_image_embeddings(self._predictor, voxels, verbose=False)

    @staticmethod
    def given(features: np.ndarray, shape: tuple[int, ...]) -> Any:
        """Embeddings float32 [K, 256, 64, 64] that were made elsewhere, in the form of :meth:`embed`."""
        return {"features": features[:, None], "input_size": (SIDE, SIDE), "original_size": shape[1:]}

    def segment(self, embeddings: Any, shape: tuple[int, ...], index: int, box: Box) -> np.ndarray:
        """uint8 [K, J, I] from a box on one slice; projection ``mask``, that is box and mask."""
        found = np.zeros(shape, dtype=np.uint8)
        x0, y0, x1, y1 = box
        seed = self._prompts.segment_from_box(
            self._predictor, np.array([y0, x0, y1, x1]), image_embeddings=embeddings, i=index
        )
        found[index] = seed[0]
        found, _ = self._volumes.segment_mask_in_volume(
            found, self._predictor, embeddings, np.array([index]), stop_lower=False, stop_upper=False,
            iou_threshold=IOU, projection="mask",
        )  # fmt: skip
        return found


class Reenacted:
    """The same steps on ``SamPredictor`` of the package ``segment_anything``, written from their description."""

    name = "micro-sam's steps re-enacted on SamPredictor"

    def __init__(self, weights: Path) -> None:
        from segment_anything import SamPredictor, sam_model_registry

        network = sam_model_registry["vit_b"]()
        network.load_state_dict(torch.load(weights, weights_only=True))
        self._predictor = SamPredictor(network)

    def embed(self, voxels: np.ndarray) -> Any:
        """See :class:`MicroSam`."""
        features = []
        for plane in voxels:
            low, high = float(plane.min()), float(plane.max())
            image = (255 * ((plane.astype(np.float32) - low) / max(high - low, 1e-6))).astype(np.uint8)
            self._predictor.set_image(np.repeat(image[..., None], 3, axis=-1))
            features.append(self._predictor.get_image_embedding()[None])
        return torch.cat(features).numpy(), self._predictor.input_size, self._predictor.original_size

    @staticmethod
    def given(features: np.ndarray, shape: tuple[int, ...]) -> Any:
        """See :class:`MicroSam`."""
        return features[:, None], (SIDE, SIDE), shape[1:]

    def segment(self, embeddings: Any, shape: tuple[int, ...], index: int, box: Box) -> np.ndarray:
        """See :class:`MicroSam`."""
        found = np.zeros(shape, dtype=np.uint8)
        found[index] = self._asked(embeddings, index, np.round(box).astype(int), None)
        for step in (-1, 1):
            z = index + step
            while 0 <= z < shape[0]:
                before = found[z - step]
                answer = self._asked(embeddings, z, *self._projected(before))
                both, either = np.logical_and(before == 1, answer == 1), np.logical_or(before == 1, answer == 1)
                if both.sum() / (either.sum() + 1e-7) < IOU:
                    break
                found[z] = answer
                z += step
        return found

    def _asked(self, embeddings: Any, z: int, box: Any, logits: Any) -> np.ndarray:
        features, input_size, original_size = embeddings
        predictor = self._predictor
        predictor.features = torch.from_numpy(features[z])
        predictor.input_size, predictor.original_size, predictor.is_image_set = input_size, original_size, True
        mask, _, _ = predictor.predict(box=box, mask_input=logits, multimask_output=False)
        return mask[0]

    @staticmethod
    def _projected(mask: np.ndarray) -> tuple[Any, np.ndarray]:
        rows, cols = np.where(mask == 1)
        box = None if not len(rows) else np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
        side = torch.from_numpy((mask == 1).astype(np.float32))[None, None]
        small = torch.nn.functional.interpolate(side, (256, 256), mode="bilinear", antialias=True)[0].numpy()
        return box, np.where(small > 0.5, _LOGIT, -_LOGIT).astype(np.float32)


def peer(weights: Path) -> MicroSam | Reenacted:
    """The package where it is installed, else its steps re-enacted."""
    try:
        return MicroSam(weights)
    except ImportError:
        return Reenacted(weights)
