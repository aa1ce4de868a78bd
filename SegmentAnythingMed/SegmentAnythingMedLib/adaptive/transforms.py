"""Where a place of the follow-up lies on the prior visit: one transform, always in the resampling direction.

SimpleITK's transforms map points of the fixed image (here: the follow-up) to points of the moving one (the prior), so
that an image of the prior is *pulled* onto the follow-up's grid. Everything in this mode keeps to that direction; files
of ITK and of 3D Slicer (.tfm, .h5) hold it too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike

from ..errors import InputError

_LINEAR = (
    sitk.sitkIdentity,
    sitk.sitkTranslation,
    sitk.sitkScale,
    sitk.sitkScaleLogarithmic,
    sitk.sitkEuler,
    sitk.sitkSimilarity,
    sitk.sitkQuaternionRigid,
    sitk.sitkVersor,
    sitk.sitkVersorRigid,
    sitk.sitkScaleSkewVersor,
    sitk.sitkComposeScaleSkewVersor,
    sitk.sitkScaleVersor,
    sitk.sitkAffine,
)
_KINDS = {sitk.sitkBSplineTransform: "B-spline", sitk.sitkDisplacementField: "displacement field"}
_RIGID_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class VisitTransform:
    """A map from LPS points of the follow-up to LPS points of the prior, in mm.

    Attributes:
        itk: a three-dimensional SimpleITK transform in that direction; never modified.
        source: where it comes from, for reports: ``identity``, ``registration``, ``file``, ``DICOM REG``...

    Raises:
        InputError: ``visits.transform`` when it is not three-dimensional, or linear and not invertible.
    """

    itk: sitk.Transform
    source: str = "given"
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.itk.GetDimension() != 3:
            raise InputError(
                "visits.transform", f"Expected a transform of 3-D space, got one of {self.itk.GetDimension()}-D space."
            )
        object.__setattr__(self, "itk", sitk.Transform(self.itk))
        matrix = self.matrix
        if matrix is not None and (not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6):
            raise InputError("visits.transform", "Expected a transform that can be inverted, got a singular matrix.")

    @classmethod
    def identity(cls) -> VisitTransform:
        """Equal places in the patient: both visits share a frame of reference."""
        return cls(sitk.Transform(3, sitk.sitkIdentity), "identity")

    @classmethod
    def translation(cls, offset_mm: ArrayLike, source: str = "translation") -> VisitTransform:
        """Point of the prior = point of the follow-up + ``offset_mm`` (L, P, S)."""
        offset = [float(x) for x in np.asarray(offset_mm, dtype=np.float64).reshape(3)]
        return cls(sitk.TranslationTransform(3, offset), source)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, source: str = "matrix") -> VisitTransform:
        """A 4x4 matrix that maps (L, P, S, 1) of the follow-up to (L, P, S, 1) of the prior.

        Raises:
            InputError: ``visits.transform`` when it is not 4x4, not finite, singular or has another last row than
                0 0 0 1.
        """
        return cls(affine_transform(matrix), source)

    @cached_property
    def matrix(self) -> np.ndarray | None:
        """Float64 [4, 4] of a linear transform, follow-up -> prior; None for one that deforms."""
        if any(part.GetTransformEnum() not in _LINEAR for part in parts_of(self.itk)):
            return None
        matrix = _matrix_of(self.itk)
        matrix.setflags(write=False)
        return matrix

    @cached_property
    def linear_part(self) -> np.ndarray:
        """Float64 [4, 4]: all linear steps together, follow-up -> prior; what is left when nothing deforms."""
        matrix = np.eye(4)
        for part in parts_of(self.itk):
            if part.GetTransformEnum() in _LINEAR:
                matrix = _matrix_of(part) @ matrix
        return matrix

    @property
    def is_linear(self) -> bool:
        """True if straight lines stay straight: rigid, affine or nothing at all."""
        return self.matrix is not None

    @property
    def kind(self) -> str:
        """``identity``, ``translation``, ``rigid``, ``affine`` or ``deformable``."""
        if self.matrix is None:
            return "deformable"
        part = self.matrix[:3, :3]
        if np.abs(part - np.eye(3)).max() < 1e-9:
            return "translation" if np.abs(self.matrix[:3, 3]).max() > 1e-9 else "identity"
        rigid = np.abs(part @ part.T - np.eye(3)).max() < _RIGID_TOLERANCE and np.linalg.det(part) > 0
        return "rigid" if rigid else "affine"

    def map_points(self, points: ArrayLike) -> np.ndarray:
        """LPS points of the follow-up [N, 3] in mm -> LPS points of the prior, float64 [N, 3]."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        if self.matrix is not None:
            return points @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return np.array([self.itk.TransformPoint(p) for p in points.tolist()]).reshape(-1, 3)

    def then(self, after: VisitTransform, source: str | None = None) -> VisitTransform:
        """First this transform, then ``after``."""
        if self.matrix is not None and after.matrix is not None:
            return VisitTransform.from_matrix(after.matrix @ self.matrix, source or self.source)
        return VisitTransform(chain(self.itk, after.itk), source or self.source)

    def inverse(self) -> VisitTransform:
        """Prior -> follow-up, exactly.

        Raises:
            InputError: ``visits.transform`` for a transform that deforms: :func:`~.inversion.inverted` does those, over
                a region.
        """
        if self.matrix is None:
            raise InputError(
                "visits.transform",
                "Expected a linear transform to turn round; one that deforms is inverted over a region only.",
            )
        return VisitTransform.from_matrix(np.linalg.inv(self.matrix), self.source)

    @cached_property
    def digest(self) -> str:
        """Sha256 of kind and all parameters: the same for the same map, whatever file it came from."""
        if self.matrix is not None:
            return hashlib.sha256(b"linear" + (np.round(self.matrix, 9) + 0.0).tobytes()).hexdigest()
        sha = hashlib.sha256()
        for part in parts_of(self.itk):
            sha.update(part.GetName().encode())
            sha.update(np.array(part.GetFixedParameters(), dtype=np.float64).tobytes())
            sha.update(np.array(part.GetParameters(), dtype=np.float64).tobytes())
        return sha.hexdigest()

    def describe(self) -> dict[str, Any]:
        """JSON form for a report."""
        matrix = None if self.matrix is None else [[float(x) for x in row] for row in self.matrix]
        parts = [_KINDS.get(part.GetTransformEnum(), "linear") for part in parts_of(self.itk)]
        return {
            "kind": self.kind,
            "source": self.source,
            "direction": "LPS mm of the follow-up to LPS mm of the prior",
            "matrix": matrix,
            "parts": parts,
            "sha256": self.digest,
            "notes": list(self.notes),
        }


def affine_transform(matrix: ArrayLike) -> sitk.AffineTransform:
    """A 4x4 matrix as a SimpleITK transform of points.

    Raises:
        InputError: ``visits.transform`` when it is not 4x4, not finite or has another last row than 0 0 0 1.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise InputError("visits.transform", "Expected a finite 4x4 matrix with the last row 0 0 0 1.")
    return sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())


def chain(*transforms: sitk.Transform) -> sitk.Transform:
    """One transform that applies the given ones in their order (ITK's own composites apply the last one first)."""
    flat = [part for transform in transforms for part in parts_of(transform)]
    return flat[0] if len(flat) == 1 else sitk.CompositeTransform(flat[::-1])


def parts_of(transform: sitk.Transform) -> list[sitk.Transform]:
    """The simple transforms that a transform consists of, in the order in which they are applied."""
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return [transform.Downcast()]
    composite = sitk.CompositeTransform(transform)
    count = composite.GetNumberOfTransforms()
    return [part for n in reversed(range(count)) for part in parts_of(composite.GetNthTransform(n))]


def _matrix_of(transform: sitk.Transform) -> np.ndarray:
    origin, *tips = (transform.TransformPoint(point) for point in [(0.0, 0.0, 0.0), *np.eye(3).tolist()])
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    matrix[:3, :3] = np.array(tips).T - np.array(origin)[:, None]
    return matrix
