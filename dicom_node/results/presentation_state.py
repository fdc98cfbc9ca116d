"""The outlines of the report as a Grayscale Softcopy Presentation State: graphics on the radiograph itself.

The radiologist keeps the full depth of the original, and switches the outlines off with the presentation state.
Source: PS3.3 A.33.1; PS3.4 annex N.
"""

from datetime import datetime
from typing import Any, Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID

from dicom_node.results import wording
from dicom_node.results.equipment import MANUFACTURER, Device, sign
from dicom_node.results.order import attribute_requests
from dicom_node.results.origin import hand_on, hand_on_anatomy, stamp, without_names
from dicom_node.results.regions import RegionKind, Regions
from dicom_node.wire import NODE_MODEL_NAME
from pipeline.radiograph import ROBUST_RANGE
from pipeline.reading import Reading

SERIES_NUMBER_BASE: Final = 39_000
"""Series of presentation states are numbered 39000 + the source's SeriesNumber."""

SERIES_DESCRIPTION: Final = "COVID-XNet outlines - NOT FOR DIAGNOSIS"

_LAYER: Final = "COVID_XNET"
_COLOUR: Final = CIELabColor(83, -8, 80)
_SEAM: Final = CIELabColor(0, 0, 0)
_BAND: Final = 0.15
"""Height of the band with the text, of the longer side of the radiograph."""

_OUTLINED: Final = {
    RegionKind.HEAT: "outlined: strongest activation of the network",
    RegionKind.LUNGS: "outlined: the lungs as the node found them",
    RegionKind.NONE: "no lungs found: distrust the score",
}
_WINDOW: Final = ("WindowCenter", "WindowWidth")


def presentation_state(
    header: Dataset,
    source: Dataset,
    reading: Reading,
    regions: Regions,
    *,
    device: Device,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset:
    """Draw the outlines on the radiograph as a viewer shows it.

    header: what `origin.carry_over` took from `source`. moment: when it was read, on the clock of the source.
    Returns a presentation state with the greyscale of the source: its modality LUT, its first VOI LUT or window, its
    polarity. No shutter, no mask, no crop: the displayed area is the whole radiograph and a band below it, in which the
    text stands. What the source does not say of the greyscale is taken from its pixels.
    """
    radiograph = without_names(header)
    radiograph.SamplesPerPixel = 1
    layer = GraphicLayer(_LAYER, 1, description=f"Outlines. {wording.DISCLAIMER}", display_color=_COLOUR)
    result = GrayscaleSoftcopyPresentationState(
        referenced_images=[radiograph],
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER_BASE + (header.SeriesNumber or 0),
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NODE_MODEL_NAME,
        software_versions=MANUFACTURER,
        device_serial_number=device.serial_number,
        content_label=_LAYER,
        content_description=f"Outlines. {wording.DISCLAIMER}",
        graphic_layers=[layer],
        graphic_annotations=[_annotation(radiograph, layer, reading, regions)],
    )
    hand_on(header, result)
    hand_on_anatomy(header, result)
    attribute_requests(header, result)
    sign(result, header, device)
    stamp(result, moment)
    result.PresentationCreationDate, result.PresentationCreationTime = result.SeriesDate, result.SeriesTime
    (area,) = result.DisplayedAreaSelectionSequence
    # PS3.3 C.10.4: the area may reach beyond the image. Text there hides no anatomy, and is read on the background of
    # the viewer, whatever the radiograph is like. Below, for not all readers know that a corner may be negative.
    area.DisplayedAreaBottomRightHandCorner = [header.Columns, header.Rows + _band(header)]
    area.PresentationPixelAspectRatio = _aspect(header)
    _carry_greyscale(source, result)
    return result


def _annotation(radiograph: Dataset, layer: GraphicLayer, reading: Reading, regions: Regions) -> GraphicAnnotation:
    words = (
        "INVESTIGATIONAL - NOT FOR DIAGNOSIS",
        wording.score(reading),
        wording.verdict(reading),
        wording.commissioned(reading),
        *wording.limits(reading),
        _OUTLINED[regions.kind],
    )
    band = _band(radiograph) / (radiograph.Rows + _band(radiograph))
    top = 1 - 0.95 * band
    text = TextObject(
        "\r\n".join(words),
        units="DISPLAY",
        bounding_box=(0.01, top, 0.99, 1 - 0.05 * band),
        anchor_point=(0.01, top),
        anchor_point_visible=False,
        text_justification="LEFT",
    )
    text.TextStyleSequence = [_text_style()]
    outlines = [GraphicObject("POLYLINE", outline, "PIXEL") for outline in regions.outlines]
    for outline in outlines:
        outline.LineStyleSequence = [_line_style(max(radiograph.Rows, radiograph.Columns))]
    return GraphicAnnotation(
        referenced_images=[radiograph],
        graphic_layer=layer,
        graphic_objects=outlines or None,
        text_objects=[text],
    )


def _band(radiograph: Dataset) -> int:
    """Rows below the radiograph that the text stands in."""
    return round(_BAND * max(int(radiograph.Rows), int(radiograph.Columns)))


def _text_style() -> Dataset:
    """Light letters with a dark seam, for viewers that show no band. PS3.3 table C.10-5a; offsets in DISPLAY units."""
    style = _shadow(0.001)
    style.CSSFontName = "sans-serif"
    style.TextColorCIELabValue = list(_COLOUR.value)
    style.HorizontalAlignment, style.VerticalAlignment = "LEFT", "TOP"
    style.Underlined = style.Italic = "N"
    style.Bold = "Y"
    return style


def _line_style(longer_side: int) -> Dataset:
    """A light line with a dark seam. PS3.3 table C.10-5b; offsets and thickness in pixels of the radiograph."""
    style = _shadow(longer_side / 1000)
    style.PatternOnColorCIELabValue = list(_COLOUR.value)
    style.PatternOnOpacity = 1.0
    style.LineThickness = longer_side / 700
    style.LineDashingStyle = "SOLID"
    return style


def _shadow(offset: float) -> Dataset:
    style = Dataset()
    style.ShadowStyle = "OUTLINED"
    style.ShadowOffsetX = style.ShadowOffsetY = offset
    style.ShadowColorCIELabValue = list(_SEAM.value)
    style.ShadowOpacity = 1.0
    return style


def _aspect(header: Dataset) -> list[str]:
    """PS3.3 C.10.4: two integers, vertical and horizontal size of a pixel."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        if keyword in header:
            high, wide = (float(number) for number in header[keyword].value)
            ratio = high / wide
            return ["1", "1"] if abs(ratio - 1) <= 0.01 else [str(round(1000 * ratio)), "1000"]
    return ["1", "1"]


def _carry_greyscale(source: Dataset, result: Dataset) -> None:
    # PS3.3 C.11.1, C.11.8: a presentation state without them means identity, and not those of the image.
    if items := source.get("ModalityLUTSequence"):
        lut = _lut(source, items[0])
        lut.ModalityLUTType = str(items[0].get("ModalityLUTType") or "US")
        result.ModalityLUTSequence = [lut]
    else:
        slope, intercept = (_first(source, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
        if slope is not None and intercept is not None:
            result.RescaleSlope, result.RescaleIntercept = f"{slope:.10g}", f"{intercept:.10g}"
            result.RescaleType = "US"
    voi = _voi(source)
    if voi is not None:
        result.SoftcopyVOILUTSequence = [voi]
    # PS3.3 C.11.6.1.2: INVERSE is what MONOCHROME1 says of an image, and in DX stands beside it.
    inverse = (
        source.get("PhotometricInterpretation") == "MONOCHROME1" or source.get("PresentationLUTShape") == "INVERSE"
    )
    result.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"


def _voi(source: Dataset) -> Dataset | None:
    """The first VOI LUT of the source, else its first window, else a window over nearly all its pixels."""
    if items := source.get("VOILUTSequence"):
        voi = Dataset()
        voi.VOILUTSequence = [_lut(source, items[0])]
        return voi
    center, width = (_first(source, keyword) for keyword in _WINDOW)
    function = str(source.get("VOILUTFunction") or "LINEAR")
    lowest = 1.0 if function == "LINEAR" else 0.0
    if center is None or width is None or width < lowest or width == 0:
        if "PixelData" not in source:
            return None
        low, high = _range(source)
        center, width, function = (low + high + 1) / 2, high - low + 1, "LINEAR"  # PS3.3 C.11.2.1.2.1
    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth = f"{center:.10g}", f"{width:.10g}"
    if function != "LINEAR":
        voi.VOILUTFunction = function
    return voi


def _range(source: Dataset) -> tuple[float, float]:
    stored = source.pixel_array
    padding = source.get("PixelPaddingValue")
    limit = source.get("PixelPaddingRangeLimit")
    values = apply_modality_lut(stored, source)
    if isinstance(padding, int):
        first, last = sorted((padding, limit if isinstance(limit, int) else padding))
        shown = values[(stored < first) | (stored > last)]
        values = shown if shown.size else values
    low, high = np.quantile(values, ROBUST_RANGE, method="nearest")
    return float(low), float(high)


def _first(source: Dataset, keyword: str) -> float | None:
    value: Any = source.get(keyword)
    if value is None or value == "":
        return None
    number = float(value if isinstance(value, int | float | str) else value[0])
    return number if np.isfinite(number) else None


def _lut(source: Dataset, item: Dataset) -> Dataset:
    """Copy a LUT in 16-bit words, which every length and depth fits. PS3.3 C.11.1.1, C.11.2.1.1."""
    length, first, bits = (int(part) for part in item.LUTDescriptor)
    data: Any = item.LUTData
    if isinstance(data, bytes):
        little = UID(source.file_meta.TransferSyntaxUID).is_little_endian
        kind = np.dtype("u1") if len(data) == (length or 65536) else np.dtype("<u2" if little else ">u2")
        entries = np.frombuffer(data, kind).astype(np.int64)
    else:
        entries = np.atleast_1d(np.asarray(data, np.int64))
    lut = Dataset()
    signed = source.get("PixelRepresentation") == 1 or first < 0
    lut.add_new("LUTDescriptor", "SS" if signed else "US", [_in(length, signed), _in(first, signed), bits])
    lut.add_new("LUTData", "OW", (entries[: length or 65536] & 0xFFFF).astype("<u2").tobytes())
    if "LUTExplanation" in item:
        lut.LUTExplanation = item.LUTExplanation
    return lut


def _in(number: int, signed: bool) -> int:
    """`number`, one 16-bit word, as it is written under the VR: 65536 entries are 0, and a sign is a high bit."""
    word = number & 0xFFFF
    return word - 0x10000 if signed and word > 0x7FFF else word
