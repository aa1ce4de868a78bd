"""Geometry between pixels of a slice and pixels of a network.

A frame shows a *region* of a slice (often all of it) in a square input. Pixels become square on the way: a slice with
0.8 mm columns and 5 mm rows is stretched, in one interpolation, so that a sphere looks round to the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

OUTSIDE_LOGIT = -32.0
"""Logit given to pixels that the network did not see: surely background (SAM 2 clamps to the same number)."""


@dataclass(frozen=True)
class Region:
    """Rows ``row0..row1-1`` and columns ``col0..col1-1`` of a slice; may reach over the slice's edge."""

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Columns."""
        return self.col1 - self.col0

    def contains_box(self, box: tuple[float, float, float, float]) -> bool:
        """True if the box (x0, y0, x1, y1), plane coordinates, lies inside."""
        x0, y0, x1, y1 = box
        return x0 >= self.col0 - 0.5 and y0 >= self.row0 - 0.5 and x1 <= self.col1 - 0.5 and y1 <= self.row1 - 0.5


@dataclass(frozen=True)
class Frame:
    """One region of one slice in one network input.

    Attributes:
        slice_shape: (rows, columns) of the slice.
        region: what is shown.
        size: side of the square network input in pixels.
        content: (rows, columns) of the input that the region fills; the rest, bottom and right, is padding.
    """

    slice_shape: tuple[int, int]
    region: Region
    size: int
    content: tuple[int, int]

    @classmethod
    def longest_side(
        cls,
        slice_shape: tuple[int, int],
        pixel_spacing: tuple[float, float],
        size: int,
        region: Region | None = None,
    ) -> Frame:
        """Frame that keeps the aspect ratio in mm: the longer side fills the input, the shorter is padded."""
        region = region or Region(0, 0, *slice_shape)
        height, width = region.height * pixel_spacing[0], region.width * pixel_spacing[1]
        scale = size / max(height, width)
        content = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return cls(tuple(slice_shape), region, size, (min(content[0], size), min(content[1], size)))

    @classmethod
    def squash(cls, slice_shape: tuple[int, int], size: int, region: Region | None = None) -> Frame:
        """Frame that stretches both sides to fill the input."""
        return cls(tuple(slice_shape), region or Region(0, 0, *slice_shape), size, (size, size))

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels per slice pixel along (x, y)."""
        return self.content[1] / self.region.width, self.content[0] / self.region.height

    def to_network(self, points: np.ndarray) -> np.ndarray:
        """Plane coordinates (x, y) [N, 2] -> network coordinates, pixel centres at whole numbers in both."""
        sx, sy = self.scale
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return np.stack(
            [(points[:, 0] + 0.5 - self.region.col0) * sx - 0.5, (points[:, 1] + 0.5 - self.region.row0) * sy - 0.5],
            axis=1,
        )

    def from_network(self, points: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`to_network`."""
        sx, sy = self.scale
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return np.stack(
            [(points[:, 0] + 0.5) / sx - 0.5 + self.region.col0, (points[:, 1] + 0.5) / sy - 0.5 + self.region.row0],
            axis=1,
        )

    def visible(self, image: np.ndarray) -> np.ndarray:
        """The pixels of the slice that the region shows, as a view; not empty even where it lies beside the slice."""
        region, (height, width) = self.region, self.slice_shape
        row0, col0 = min(max(region.row0, 0), height - 1), min(max(region.col0, 0), width - 1)
        return image[row0 : max(region.row1, row0 + 1), col0 : max(region.col1, col0 + 1)]

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Pixels of the region, [h, w] or [h, w, C]; over the slice's edge the nearest pixel is repeated."""
        region, (height, width) = self.region, self.slice_shape
        if (region.row0, region.col0, region.row1, region.col1) == (0, 0, height, width):
            return image
        if region.row0 >= 0 and region.col0 >= 0 and region.row1 <= height and region.col1 <= width:
            return image[region.row0 : region.row1, region.col0 : region.col1]
        rows = np.clip(np.arange(region.row0, region.row1), 0, height - 1)
        cols = np.clip(np.arange(region.col0, region.col1), 0, width - 1)
        return image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1][np.ix_(rows - rows[0], cols - cols[0])]

    def sample(self, patch: np.ndarray) -> torch.Tensor:
        """Pixels of the region (see :meth:`crop`) at network size, before padding.

        Args:
            patch: [h, w] or [h, w, C] of the region, any real type.

        Returns:
            float32 [C, content rows, content columns]; bilinear, antialiased.
        """
        patch = torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))
        patch = patch[None] if patch.ndim == 2 else patch.permute(2, 0, 1)
        if tuple(patch.shape[1:]) == self.content:
            return patch
        return F.interpolate(patch[None], size=self.content, mode="bilinear", antialias=True)[0]

    def restore(self, logits: torch.Tensor) -> np.ndarray:
        """Logits of the whole input -> pixels of the slice.

        Args:
            logits: float [M, h, w] covering the padded square input at any resolution.

        Returns:
            float32 [M, H, W]; ``OUTSIDE_LOGIT`` outside the region.
        """
        side = logits.shape[-1]
        rows, cols = self.content[0] * side / self.size, self.content[1] * side / self.size
        if rows == int(rows) and cols == int(cols):
            logits = logits[:, : int(rows), : int(cols)]
        else:
            logits = F.interpolate(logits[None].float(), size=(self.size, self.size), mode="bilinear")[0]
            logits = logits[:, : self.content[0], : self.content[1]]
        shrinking = logits.shape[-2] > self.region.height or logits.shape[-1] > self.region.width
        patch = F.interpolate(
            logits[None].float(), size=(self.region.height, self.region.width), mode="bilinear", antialias=shrinking
        )[0].numpy()
        return self.paste(patch)

    def paste(self, patch: np.ndarray) -> np.ndarray:
        """Logits of the region [M, h, w] -> of the slice [M, H, W], ``OUTSIDE_LOGIT`` around."""
        height, width = self.slice_shape
        region = self.region
        if (region.row0, region.col0, region.row1, region.col1) == (0, 0, height, width):
            return patch
        out = np.full((patch.shape[0], height, width), OUTSIDE_LOGIT, dtype=np.float32)
        r0, r1 = max(region.row0, 0), min(region.row1, height)
        c0, c1 = max(region.col0, 0), min(region.col1, width)
        if r0 < r1 and c0 < c1:
            out[:, r0:r1, c0:c1] = patch[:, r0 - region.row0 : r1 - region.row0, c0 - region.col0 : c1 - region.col0]
        return out

    def mask_logits(self, mask: np.ndarray, side: int, strength: float = 6.907) -> np.ndarray | None:
        """A binary mask as a mask prompt: float32 [side, side] of ``+-strength`` logits, padding as background.

        The binary mask (not its logits) is resized with antialiasing and cut at one half, so that small objects are not
        washed out (spec of prompt projection, micro-sam). ``None`` when nothing is left of the mask at that size.
        """
        height = max(1, round(self.content[0] * side / self.size))
        width = max(1, round(self.content[1] * side / self.size))
        whole = self.region == Region(0, 0, *self.slice_shape)
        patch = mask if whole else self._cut_mask(mask)
        patch = torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))[None, None]
        small = F.interpolate(patch, size=(height, width), mode="bilinear", antialias=True)[0, 0].numpy() > 0.5
        if not small.any():
            return None
        out = np.full((side, side), -strength, dtype=np.float32)
        out[:height, :width][small] = strength
        return out

    def _cut_mask(self, mask: np.ndarray) -> np.ndarray:
        region, (height, width) = self.region, self.slice_shape
        out = np.zeros((region.height, region.width), dtype=bool)
        r0, r1 = max(region.row0, 0), min(region.row1, height)
        c0, c1 = max(region.col0, 0), min(region.col1, width)
        if r0 < r1 and c0 < c1:
            out[r0 - region.row0 : r1 - region.row0, c0 - region.col0 : c1 - region.col0] = mask[r0:r1, c0:c1]
        return out


def shown_cells(frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    """Cells of a grid over the whole input whose centres lie on pixels of the slice, bool [h, w].

    False in padding and where a region reaches over the slice's edge.
    """
    (rows, cols), (height, width) = shape, frame.slice_shape
    ys = (np.arange(rows) + 0.5) * frame.size / rows - 0.5
    xs = (np.arange(cols) + 0.5) * frame.size / cols - 0.5
    x = frame.from_network(np.stack([xs, np.zeros_like(xs)], axis=1))[:, 0]
    y = frame.from_network(np.stack([np.zeros_like(ys), ys], axis=1))[:, 1]
    inside_x = (xs + 0.5 < frame.content[1]) & (x > -0.5) & (x < width - 0.5)
    inside_y = (ys + 0.5 < frame.content[0]) & (y > -0.5) & (y < height - 0.5)
    return inside_y[:, None] & inside_x[None, :]
