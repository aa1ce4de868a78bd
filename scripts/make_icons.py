"""Draws the icons of the extension, its module and its Segment Editor effect, and the thumbnail of the sample.

    python scripts/make_icons.py

All four are drawn by this code; the thumbnail is slice 14 of the shipped CT with its bladder.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parent.parent
MODULE = REPOSITORY / "SegmentAnythingMed"
ICONS = MODULE / "Resources" / "Icons"
SAMPLE = MODULE / "Resources" / "SampleData" / "CTPelvisBladder"
SIZE, FINE = 128, 8
DARK, BODY, EDGE = (24, 32, 44, 255), (96, 110, 128, 255), (168, 180, 196, 255)
ORGAN, POINT = (255, 138, 48, 255), (46, 204, 113, 255)
THUMBNAIL = (260, 280)
THUMBNAIL_SLICE, BLADDER = 14, 1


def canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A transparent picture, eight times as fine as the icon."""
    picture = Image.new("RGBA", (SIZE * FINE, SIZE * FINE), (0, 0, 0, 0))
    return picture, ImageDraw.Draw(picture)


def blob(centre: tuple[float, float], radius: float, waves: tuple[float, float, float]) -> list[tuple[float, float]]:
    """Outline of a soft irregular shape, in fine pixels."""
    points = []
    for step in range(240):
        angle = 2 * math.pi * step / 240
        bulge = 1 + sum(wave * math.sin((n + 2) * angle + n) for n, wave in enumerate(waves))
        points.append(
            (
                FINE * (centre[0] + radius * bulge * math.cos(angle)),
                FINE * (centre[1] + radius * bulge * math.sin(angle)),
            )
        )
    return points


def stack(draw: ImageDraw.ImageDraw) -> None:
    """Three slices, one behind the other, each with the organ's outline smaller than on the one before."""
    for behind in (2, 1, 0):
        left, top = 10 + 13 * behind, 34 - 13 * behind
        shade = tuple(part - 26 * behind for part in BODY[:3])
        box = [FINE * value for value in (left, top, left + 82, top + 82)]
        draw.rounded_rectangle(box, 12 * FINE, fill=(*shade, 255), outline=DARK, width=3 * FINE)
        centre = (left + 41, top + 42)
        if behind:
            outline = blob(centre, 26 - 5 * behind, (0.10, 0.06, 0.03))
            draw.line([*outline, outline[0]], fill=ORGAN, width=4 * FINE, joint="curve")


def cross(draw: ImageDraw.ImageDraw, x: float, y: float, arm: float) -> None:
    """A positive point: a plus on a disc."""
    draw.ellipse(
        [FINE * (x - arm), FINE * (y - arm), FINE * (x + arm), FINE * (y + arm)],
        fill=POINT,
        outline=DARK,
        width=2 * FINE,
    )
    inner, half = 0.6 * arm, 0.16 * arm
    for dx, dy in ((inner, half), (half, inner)):
        draw.rectangle([FINE * (x - dx), FINE * (y - dy), FINE * (x + dx), FINE * (y + dy)], fill=(255, 255, 255, 255))


def module_icon() -> Image.Image:
    """A stack of slices; the organ is filled on the first one, where the point is."""
    picture, draw = canvas()
    stack(draw)
    organ = blob((51, 76), 27, (0.10, 0.06, 0.03))
    draw.polygon(organ, fill=ORGAN)
    draw.line([*organ, organ[0]], fill=(255, 226, 190, 255), width=2 * FINE, joint="curve")
    cross(draw, 46, 80, 13)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def effect_icon() -> Image.Image:
    """One organ, one point, one box: what the effect takes."""
    picture, draw = canvas()
    organ = blob((64, 64), 40, (0.10, 0.06, 0.03))
    draw.polygon(organ, fill=ORGAN)
    for start in range(8, 120, 16):
        for a, b in (
            ((start, 8), (start + 9, 8)),
            ((start, 120), (start + 9, 120)),
            ((8, start), (8, start + 9)),
            ((120, start), (120, start + 9)),
        ):
            draw.line([FINE * a[0], FINE * a[1], FINE * b[0], FINE * b[1]], fill=POINT, width=6 * FINE)
    cross(draw, 58, 68, 22)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def thumbnail() -> Image.Image:
    """The middle of the sample with its bladder's outline and a point in it."""
    image = sitk.ReadImage(str(SAMPLE / "ct.nii.gz"))
    voxels = sitk.GetArrayFromImage(image)[THUMBNAIL_SLICE].astype(float)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE / "labels.nii.gz")))[THUMBNAIL_SLICE] == BLADDER
    gray = np.clip((voxels + 110) / 350, 0, 1)
    row, column = (round(float(value)) for value in ndimage.center_of_mass(mask))
    height = min(gray.shape[0], 156)
    width = round(height * THUMBNAIL[0] / THUMBNAIL[1])
    top = min(max(row - height // 2, 0), gray.shape[0] - height)
    left = min(max(column - width // 2, 0), gray.shape[1] - width)
    crop = (slice(top, top + height), slice(left, left + width))
    size = (THUMBNAIL[0] * 2, THUMBNAIL[1] * 2)
    picture = Image.fromarray((gray[crop] * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    inside = np.asarray(Image.fromarray(mask[crop].astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)) > 127
    pixels = np.asarray(picture).astype(float)
    color = np.array(ORGAN[:3], dtype=float)
    pixels[inside] = 0.65 * pixels[inside] + 0.35 * color
    pixels[ndimage.binary_dilation(inside, iterations=4) & ~inside] = color
    picture = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    x, y = ((column - left + 0.5) * size[0] / width, (row - top + 0.5) * size[1] / height)
    draw.ellipse([x - 13, y - 13, x + 13, y + 13], fill=POINT[:3], outline=(255, 255, 255), width=3)
    draw.text(
        (14, size[1] - 44),
        "CT pelvis, bladder",
        fill=(255, 255, 255),
        font=ImageFont.load_default(30),
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )
    return picture.resize(THUMBNAIL, Image.Resampling.LANCZOS)


def main() -> None:
    """Write all four pictures."""
    ICONS.mkdir(parents=True, exist_ok=True)
    icon = module_icon()
    for path in (REPOSITORY / "SegmentAnythingMed.png", ICONS / "SegmentAnythingMed.png"):
        icon.save(path, optimize=True)
    effect_icon().save(ICONS / "SegmentEditorSegmentAnything.png", optimize=True)
    thumbnail().save(ICONS / "SampleCTPelvisBladder.png", optimize=True)


if __name__ == "__main__":
    main()
