"""Two visits made from nothing: rotations, smooth deformations, a textured body. No patient data."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume


def rotation(x, y, z):
    """Rotation matrix of angles in radians."""
    return np.array(sitk.Euler3DTransform((0.0, 0.0, 0.0), x, y, z).GetMatrix()).reshape(3, 3)


def bump(centre, push_mm, width_mm, reach=2.5, spacing_mm=3.0):
    """A smooth displacement field that is ``push_mm`` at ``centre`` and fades like a Gaussian of ``width_mm``."""
    count = int(2 * reach * width_mm / spacing_mm) + 1
    origin = np.asarray(centre, dtype=float) - spacing_mm * (count - 1) / 2
    k, j, i = np.indices((count,) * 3)
    points = origin + spacing_mm * np.stack([i, j, k], axis=-1)
    distance = np.linalg.norm(points - centre, axis=-1)
    fade = np.exp(-0.5 * (distance / width_mm) ** 2) * np.clip(reach - distance / width_mm, 0, 1)
    image = sitk.GetImageFromArray(fade[..., None] * np.asarray(push_mm, dtype=float), isVector=True)
    image.SetSpacing((spacing_mm,) * 3)
    image.SetOrigin(origin.tolist())
    return VisitTransform(sitk.DisplacementFieldTransform(image), "known")


def body(shape=(40, 96, 96), spacing=(2.5, 2.5, 3.0), seed=0, hu=True):
    """A CT-like volume: air, an elliptic body with organs, bones and texture; and a mask of one organ."""
    k, j, i = np.indices(shape, dtype=float)
    z, y, x = (k - (shape[0] - 1) / 2) * spacing[2], (j - (shape[1] - 1) / 2) * spacing[1], \
        (i - (shape[2] - 1) / 2) * spacing[0]  # fmt: skip
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2)
    voxels = np.full(shape, -1000.0)
    inside = (x / 100) ** 2 + (y / 75) ** 2 < 1 + 0.1 * np.sin(z / 15)
    voxels[inside] = (20 + 150 * texture)[inside]
    for _ in range(14):
        c, r = rng.uniform(-1, 1, 3) * (65, 45, 45), rng.uniform(7, 16, 3)
        blob = ((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((z - c[2]) / r[2]) ** 2 < 1
        voxels[blob & inside] += rng.choice([-120, 150, 400])
    spine = (x**2 + (y - 50) ** 2 < 14**2) & inside
    voxels[spine] = 500 + 200 * np.sin(z[spine] / 6)
    organ = ((x + 30) / 22) ** 2 + ((y + 8) / 18) ** 2 + (z / 20) ** 2 < 1
    voxels[organ] = 130 + 60 * texture[organ]
    voxels += rng.normal(0, 15, shape)
    volume = Volume(voxels.astype(np.int16), Affine.from_parts(spacing, (-120, -120, -60)), modality="CT", is_hu=hu)
    return volume, organ
