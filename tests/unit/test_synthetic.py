"""Plain images: as radiographs, and dressed as CR objects."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicom_node.synthetic import wrap
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from pipeline.errors import UndecodablePixels
from pipeline.radiograph import from_dicom, from_image
from tests.phantom import chest_phantom

LIMIT = 1_000_000
# Odd by odd: the pixel data need a padding byte (PS3.5 8.1.1).
CHEST = chest_phantom((201, 181))
CHEST_8 = np.round(CHEST * 255).astype(np.uint8)
CHEST_16 = np.round(CHEST * 4095).astype(np.uint16)


def rgba() -> Image.Image:
    half = np.where(np.arange(181) < 90, 255, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([CHEST_8] * 3 + [np.tile(half, (201, 1))]))


def exif_rotated() -> Image.Image:
    image = Image.fromarray(np.rot90(CHEST_8).copy())
    image.getexif()[0x0112] = 6  # to be turned clockwise
    return image


IMAGES: dict[str, tuple[str, Image.Image, dict[str, Any], float]] = {
    "8-bit grey PNG": ("png", Image.fromarray(CHEST_8), {}, 0),
    "RGB PNG": ("png", Image.fromarray(np.dstack([CHEST_8] * 3)), {}, 0),
    "palette PNG": ("png", Image.fromarray(CHEST_8).convert("P"), {}, 0),
    "grey PNG with alpha": ("png", Image.fromarray(CHEST_8).convert("LA"), {}, 0),
    "grey JPEG": ("jpg", Image.fromarray(CHEST_8), {"quality": 98}, 0.03),
    "RGB JPEG": ("jpg", Image.fromarray(np.dstack([CHEST_8] * 3)), {"quality": 98}, 0.03),
}


@pytest.fixture(params=IMAGES.values(), ids=list(IMAGES))
def image_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, float]:
    suffix, image, options, tolerance = request.param
    path = tmp_path / f"chest.{suffix}"
    image.save(path, **options)
    return path, tolerance


def test_an_8_bit_image_is_taken_as_it_is(image_file: tuple[Path, float]) -> None:
    path, tolerance = image_file
    pixels = from_image(path, maximum_pixels=LIMIT).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, CHEST_8 / 255, atol=tolerance + 1e-6)


def test_a_16_bit_image_is_stretched_like_an_object_without_a_window(tmp_path: Path) -> None:
    path = tmp_path / "chest.png"
    Image.fromarray(CHEST_16).save(path)
    pixels = from_image(path, maximum_pixels=LIMIT).pixels
    low, high = np.quantile(CHEST_16, [0.005, 0.995], method="inverted_cdf")
    np.testing.assert_allclose(pixels, np.clip((CHEST_16.astype(float) - low) / (high - float(low)), 0, 1), atol=1e-6)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    path = tmp_path / "chest.png"
    rgba().save(path)
    pixels = from_image(path, maximum_pixels=LIMIT).pixels
    assert pixels[:, 90:].max() == 0
    np.testing.assert_allclose(pixels[:, :90], CHEST_8[:, :90] / 255, atol=1e-6)


def test_the_orientation_in_exif_data_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "chest.png"
    exif_rotated().save(path, exif=exif_rotated().getexif())
    np.testing.assert_allclose(from_image(path, maximum_pixels=LIMIT).pixels, CHEST_8 / 255, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_wrapped_image_reads_like_the_image(depth: int, tmp_path: Path) -> None:
    path, target = tmp_path / "chest.png", tmp_path / "chest.dcm"
    Image.fromarray(CHEST_8 if depth == 8 else CHEST_16).save(path)
    wrap(path, maximum_pixels=LIMIT).save_as(target, enforce_file_format=True)
    dataset = dcmread(target)
    assert dataset.SOPClassUID == COMPUTED_RADIOGRAPHY
    assert dataset.BitsStored == depth
    assert np.array_equal(dataset.pixel_array, CHEST_8 if depth == 8 else CHEST_16)
    expected = from_image(path, maximum_pixels=LIMIT).pixels
    assert np.array_equal(from_dicom(dataset, maximum_pixels=LIMIT).pixels, expected)


def test_identity_comes_from_the_content_and_never_from_the_name(tmp_path: Path) -> None:
    paths = [tmp_path / "Doe^Jane.png", tmp_path / "again.png", tmp_path / "other.png"]
    for path, pixels in zip(paths, [CHEST_8, CHEST_8, CHEST_8[::-1]], strict=True):
        Image.fromarray(pixels).save(path)
    first, again, other = (wrap(path, maximum_pixels=LIMIT) for path in paths)
    assert first == again
    assert "DOE" not in str(first).upper()
    assert str(first.PatientName).startswith("SYNTHETIC^")
    assert first.PatientID.startswith("SYNTHETIC-")
    assert not first.ViewPosition
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert first[keyword].value != other[keyword].value
    uids = {first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID}
    assert len(uids) == 3
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


def test_lossy_compression_is_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "chest.jpg"
    Image.fromarray(CHEST_8).save(path)
    dataset = wrap(path, maximum_pixels=LIMIT)
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert dataset.LossyImageCompressionRatio > 1


def test_an_image_above_the_limit_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "chest.png"
    Image.fromarray(CHEST_8).save(path)
    # Header of a PNG that claims 65535 x 65535; its check sums no longer hold, and nobody comes to look.
    content = bytearray(path.read_bytes())
    content[16:24] = b"\0\0\xff\xff" * 2
    path.write_bytes(content)
    for read in (from_image, wrap):
        with pytest.raises(UndecodablePixels):
            read(path, maximum_pixels=LIMIT)
    Image.fromarray(CHEST_8).save(path)
    with pytest.raises(UndecodablePixels, match="201 x 181 pixels are above the limit of 36380"):
        from_image(path, maximum_pixels=201 * 181 - 1)


@pytest.mark.parametrize("name", ["chest.png", "chest.jpg"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.98])
def test_a_truncated_image_is_refused(name: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(CHEST_8).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UndecodablePixels):
        from_image(path, maximum_pixels=LIMIT)


def test_other_kinds_of_image_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chest.bmp"
    cv2.imwrite(str(path), CHEST_8)
    with pytest.raises(UndecodablePixels, match="image file"):
        from_image(path, maximum_pixels=LIMIT)
