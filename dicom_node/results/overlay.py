"""The picture that goes back: the radiograph in grey, the heat map in its lungs, captions above and below it.

canvas
┌──────────────────────────────┐
│ score, verdict, remarks      │  extends the canvas: no text covers anatomy
├──────────────────────────────┤
│ radiograph, heat, lungs      │  upright, bright bone, not mirrored
├──────────────────────────────┤
│ disclaimer, model, colour bar│
└──────────────────────────────┘

Side by side, the radiograph as it is stands left of it, between the same captions.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_node.destination import OverlayLayout, OverlaySize
from dicom_node.results import wording
from pipeline.radiograph import Gray, Radiograph
from pipeline.reading import Reading

SHORTEST_SIDE: Final = 768
"""Pixels; a smaller radiograph is enlarged so far, for text on it could not be read otherwise."""

LONGEST_SIDE: Final = 4096
"""Pixels up to which a small radiograph may grow, however narrow it is."""

LARGEST: Final = 20_000_000
"""Pixels that a radiograph is drawn with at most: three bytes each, at every destination. Few detectors have more."""

SMALL_SIDE: Final = 1024
"""Pixels of the longer side of a radiograph that is drawn small."""

SMALL_SHORTER_SIDE: Final = 384
"""Pixels below which the shorter side of a large radiograph is not made: captions need a width."""

_OPAQUE: Final = 0.6
"""Opacity of the strongest heat: the anatomy below stays visible."""

_FAINT: Final = 0.1
"""Heat that is not shown."""

_LARGE: Final = 1.6
"""Size of what is read from afar: score, verdict, warning. Of a portrait radiograph, each fits into one line."""

Colour = tuple[int, int, int]
BACKGROUND: Final[Colour] = (16, 18, 22)
_WHITE: Final[Colour] = (240, 240, 240)
_PALE: Final[Colour] = (170, 176, 184)
_AMBER: Final[Colour] = (255, 191, 64)
_CONTOUR: Final[Colour] = (112, 214, 226)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What is written beside the reading itself.

    view: projection, such as "PA". flags: remarks of the gate. moment: when it was read, local time.
    """

    view: str
    flags: tuple[str, ...]
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    text: str
    size: float
    colour: Colour


def drawn_shape(rows: int, columns: int, *, size: OverlaySize = OverlaySize.FULL) -> tuple[int, int]:
    """Height and width at which a radiograph of `rows` by `columns` is drawn.

    Full: its own; larger if it is small, smaller if it has more than `LARGEST` pixels. Small:
    `SMALL_SIDE` along the longer side, unless it is very narrow.
    """
    if size is OverlaySize.SMALL:
        factor = max(SMALL_SIDE / max(rows, columns), min(1.0, SMALL_SHORTER_SIDE / min(rows, columns)))
        return round(rows * factor), round(columns * factor)
    factor = min(max(1.0, SHORTEST_SIDE / min(rows, columns)), max(1.0, LONGEST_SIDE / max(rows, columns)))
    factor = min(factor, math.sqrt(LARGEST / (rows * columns)))
    return round(rows * factor), round(columns * factor)


def draw(
    radiograph: Radiograph,
    reading: Reading,
    caption: Caption,
    *,
    layout: OverlayLayout = OverlayLayout.OVERLAY,
    size: OverlaySize = OverlaySize.FULL,
) -> NDArray[np.uint8]:
    """Draw what the node saw.

    Returns uint8 (H, W, 3), RGB: the radiograph at `drawn_shape`, between two bands of captions. Colour is only
    where the lungs are; its opacity grows with the heat. Side by side, the radiograph without colour is left of it.
    Source: COVID-XNet, section 2.3 (class activation map over the radiograph).
    """
    height, width = drawn_shape(*radiograph.pixels.shape, size=size)
    unit = max(16.0, 0.022 * max(height, width))
    left = width + round(unit / 2) if layout is OverlayLayout.SIDE_BY_SIDE else 0
    top = _band(left + width, unit, _above(reading, caption))
    bottom = _band(left + width, unit, _below(reading, caption), scale=reading.lungs_found)
    canvas = np.empty((top.shape[0] + height + bottom.shape[0], left + width, 3), np.uint8)
    canvas[: top.shape[0]] = top
    canvas[top.shape[0] + height :] = bottom
    middle = canvas[top.shape[0] : top.shape[0] + height]
    grey = _grey(radiograph.pixels, height, width)
    if left:
        middle[:, :width] = grey[..., None]
        middle[:, width:left] = BACKGROUND
    _paint(middle[:, left:], grey, reading)
    return canvas


def _grey(pixels: Gray, height: int, width: int) -> NDArray[np.uint8]:
    grey = cv2.convertScaleAbs(pixels, alpha=255)
    if grey.shape != (height, width):
        smaller = height < grey.shape[0]
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(grey, np.uint8)


def _paint(area: NDArray[np.uint8], grey: NDArray[np.uint8], reading: Reading) -> None:
    """Paint the radiograph and its heat into `area`, uint8 (h, w, 3), a part of the canvas; grey: uint8 (h, w)."""
    height, width = grey.shape
    if not reading.lungs_found:
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, dst=area)
        return
    # Blended at the small size of the maps and then enlarged: a quarter of the time of the full size. Bytes all along,
    # for floats of the full size are 25 MB each.
    soft = cv2.GaussianBlur(reading.lungs.astype(np.uint8) * 255, (0, 0), 2.0)
    _, inside = cv2.threshold(_enlarged(soft, height, width), 127, 255, cv2.THRESH_BINARY)
    colour, alpha = _colour(reading.heatmap)
    alpha = cv2.bitwise_and(_enlarged(alpha, height, width), inside)
    cv2.cvtColor(cv2.multiply(grey, cv2.bitwise_not(alpha), scale=1 / 255), cv2.COLOR_GRAY2RGB, dst=area)
    left, top, w, h = cv2.boundingRect(inside)
    lungs = np.s_[top : top + h, left : left + w]
    cv2.add(area[lungs], _enlarged(colour, height, width)[lungs], dst=area[lungs], mask=inside[lungs])
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # Smooth lines are drawn point by point: without those that a pixel does not show, twenty times as fast.
    outlines = [cv2.approxPolyDP(contour, 1.0, closed=True) for contour in contours]
    cv2.polylines(area, outlines, True, _CONTOUR, max(1, round(max(height, width) / 900)), cv2.LINE_AA)


def _enlarged(small: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _colour(heat: Gray) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour of heat, already multiplied by its opacity, uint8 (h, w, 3); and the opacity, uint8 (h, w)."""
    mapped = cv2.applyColorMap(cv2.convertScaleAbs(heat, alpha=255), cv2.COLORMAP_PLASMA)
    opacity = _OPAQUE * np.sqrt(np.clip((heat - _FAINT) / (1 - _FAINT), 0, 1))
    rgb = cv2.cvtColor(mapped, cv2.COLOR_BGR2RGB) * opacity[..., None]
    return rgb.astype(np.uint8), (255 * opacity).astype(np.uint8)


def _above(reading: Reading, caption: Caption) -> tuple[_Line, ...]:
    remarks = [f"view {caption.view}"] if caption.view != "unknown" else []
    remarks += [*caption.flags, wording.commissioned(reading), *wording.limits(reading)]
    if not reading.lungs_found:
        remarks.append("no lungs found: no heat map, distrust the score")
    probability = wording.probability(reading)
    return (
        _Line(text=wording.score(reading), size=_LARGE, colour=_WHITE),
        _Line(text=reading.verdict.value.upper(), size=_LARGE, colour=_WHITE),
        _Line(text=_capitalised(wording.against_threshold(reading)), size=1.0, colour=_WHITE),
        *([_Line(text=_capitalised(probability), size=0.9, colour=_PALE)] if probability else []),
        _Line(text=_capitalised(" · ".join(dict.fromkeys(remarks))), size=0.9, colour=_AMBER),
    )


def _below(reading: Reading, caption: Caption) -> tuple[_Line, ...]:
    model = reading.model
    return (
        _Line(text="INVESTIGATIONAL - NOT FOR DIAGNOSIS", size=_LARGE, colour=_AMBER),
        _Line(
            text=f"{model.name} {model.version} of {model.trained} · read {caption.moment:%Y-%m-%d %H:%M}",
            size=0.8,
            colour=_PALE,
        ),
    )


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    assert isinstance(font, ImageFont.FreeTypeFont)  # it is whenever a size is given
    return font


def _wrapped(line: _Line, unit: float, width: int) -> list[str]:
    """Break a line at its spaces where it is too long for `width`."""
    font = _font(round(unit * line.size))
    if font.getlength(line.text) <= width:
        return [line.text]
    rows = [""]
    for word in line.text.split(" "):
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


@lru_cache(maxsize=2)
def _band(width: int, unit: float, lines: tuple[_Line, ...], *, scale: bool = False) -> NDArray[np.uint8]:
    """A band of text across the canvas, with the colour scale in the last row if it is wanted.

    The lower one is the same for a minute.
    """
    margin = round(0.7 * unit)
    placed: list[tuple[str, _Line, int]] = []
    y = margin
    for line in lines:
        for text in _wrapped(line, unit, width - 2 * margin):
            placed.append((text.removesuffix(" ·"), line, y))
            y += round(1.4 * unit * line.size)
    bar_top = y + round(0.3 * unit)
    if scale:
        y = bar_top + round(2.2 * unit)
    band = Image.new("RGB", (width, y + margin // 2), BACKGROUND)
    pen = ImageDraw.Draw(band)
    for text, line, top in placed:
        pen.text((margin, top), text, line.colour, _font(round(unit * line.size)))
    if scale:
        _draw_scale(band, unit, margin, bar_top)
    return np.asarray(band)


def _draw_scale(band: Image.Image, unit: float, margin: int, top: int) -> None:
    """Draw the colour bar as heat looks over dark grey, with its scale below and its name beside."""
    length, thickness = min(round(14 * unit), band.width - 2 * margin), round(0.7 * unit)
    colour, alpha = _colour(np.linspace(0, 1, length, dtype=np.float32)[None])
    strip = (96 * (1 - alpha[..., None] / 255) + colour).astype(np.uint8)
    band.paste(Image.fromarray(strip).resize((length, thickness)), (margin, top))
    pen, font = ImageDraw.Draw(band), _font(round(0.75 * unit))
    below = top + thickness + round(0.15 * unit)
    for label, position, anchor in (("0", 0.0, "la"), ("0.5", 0.5, "ma"), ("1", 1.0, "ra")):
        pen.text((margin + position * length, below), label, _PALE, font, anchor=anchor)
    name = "activation of the network, inside the lungs"
    if margin + length + unit + font.getlength(name) < band.width:
        pen.text((margin + length + unit, top), name, _PALE, font)
