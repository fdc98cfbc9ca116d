"""Overlays that are compressed on their way: the same object and pixels to decoders that share no code with ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from sqlalchemy.orm import Session

from dicom_node.destination import Compression, Destination
from dicom_node.journey.database import prepare
from dicom_node.journey.desk import ReturnDesk
from dicom_node.journey.ledger import ReadingRow, ReturnRow, now
from dicom_node.journey.outcome import Returned
from dicom_node.journey.queue import JourneyQueue
from dicom_node.peers import Peer
from dicom_node.results.compose import Results, compose, save
from dicom_node.results.shelf import ResultShelf
from dicom_node.returns.returner import Sender
from dicom_node.settings import Settings
from dicom_node.wire import COMPREHENSIVE_3D_SR, OVERLAY_COMPRESSION, SECONDARY_CAPTURE
from pipeline.radiograph import from_dicom
from tests.conformance.validators import complaints
from tests.peers.scripted_pacs import scripted_pacs
from tests.phantom import make_cr
from tests.readings import READ_AT, make_reading

SYNTAXES = {"jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless, "rle": RLELossless}


@pytest.fixture(scope="module")
def results() -> Results:
    source = make_cr(size=(161, 141), orientation=("L", "F"))
    radiograph = from_dicom(source, maximum_pixels=10**6)
    reading = make_reading(radiograph.pixels.shape, 0.9)
    return compose(
        source, radiograph, reading, journey="compressed", view="PA", evidence="ViewPosition", flags=(),
        read_at=READ_AT,
    )  # fmt: skip


def sender_to(peer: Peer, compression: list[UID]) -> Sender:
    kinds = [(sop_class, ExplicitVRLittleEndian) for sop_class in (SECONDARY_CAPTURE, COMPREHENSIVE_3D_SR)]
    return Sender(peer, kinds, calling_ae="TEST", timeout=10, compression=compression)


def without_pixels(dataset: Dataset) -> dict[str, Any]:
    told: dict[str, Any] = dataset.to_json_dict(bulk_data_element_handler=lambda element: element.keyword)
    del told["7FE00010"], told["00280004"]
    return told


def test_each_word_of_the_settings_is_a_transfer_syntax() -> None:
    assert dict(OVERLAY_COMPRESSION) == SYNTAXES
    assert set(Compression) == set(SYNTAXES)


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_a_compressed_overlay_is_the_same_object_with_the_same_pixels(
    results: Results, syntax: UID, tmp_path: Path
) -> None:
    files = [tmp_path / "overlay.dcm", tmp_path / "report.dcm"]
    save(results.secondary_capture, files[0])
    save(results.structured_report, files[1])
    with scripted_pacs(compression=[syntax]) as pacs, sender_to(pacs.peer, [syntax]) as sender:
        answers = [sender.send(dcmread(file)) for file in files]
    assert [(answer.status, answer.transfer_syntax) for answer in answers] == [
        (0x0000, syntax),
        (0x0000, ExplicitVRLittleEndian),
    ]
    overlay, _ = pacs.stored
    assert overlay.file_meta.TransferSyntaxUID == syntax
    assert overlay.PhotometricInterpretation == ("YBR_RCT" if syntax == JPEG2000Lossless else "RGB")
    assert without_pixels(overlay) == without_pixels(dcmread(files[0]))
    dcmwrite(tmp_path / "sent.dcm", overlay, enforce_file_format=True)
    assert complaints(tmp_path / "sent.dcm") == []
    with Image.open(tmp_path / "sent.ppm") as rendered:
        assert np.array_equal(np.asarray(rendered), results.overlay)


@pytest.mark.parametrize(
    ("offered", "taken", "sent"),
    [
        ([JPEG2000Lossless, JPEGLSLossless], [JPEGLSLossless, JPEG2000Lossless], JPEG2000Lossless),
        ([JPEG2000Lossless, JPEGLSLossless], [JPEGLSLossless], JPEGLSLossless),
        ([JPEG2000Lossless, JPEGLSLossless], [RLELossless], ExplicitVRLittleEndian),
        ([], [JPEGLSLossless], ExplicitVRLittleEndian),
    ],
    ids=["the best that is offered", "the one that is taken", "none is taken", "none is offered"],
)
def test_the_destination_gets_the_best_offer_that_it_takes(
    results: Results, offered: list[UID], taken: list[UID], sent: UID, tmp_path: Path
) -> None:
    save(results.secondary_capture, tmp_path / "overlay.dcm")
    with scripted_pacs(compression=taken) as pacs, sender_to(pacs.peer, offered) as sender:
        answer = sender.send(dcmread(tmp_path / "overlay.dcm"))
    (overlay,) = pacs.stored
    assert (answer.transfer_syntax, overlay.file_meta.TransferSyntaxUID) == (sent, sent)
    assert overlay.SOPInstanceUID == results.secondary_capture.SOPInstanceUID


def test_the_ledger_says_in_which_transfer_syntax_a_result_went(results: Results, tmp_path: Path) -> None:
    with scripted_pacs(compression=[JPEGLSLossless]) as pacs:
        to = Destination(peer=pacs.peer, overlay_compression=(Compression.JPEG_2000, Compression.JPEG_LS))
        settings = Settings(data_dir=tmp_path / "data", destinations=(to,), network_timeout=10)
        prepare(settings)
        queue = JourneyQueue(settings)
        engine = queue.engine
        with Session(engine) as session, session.begin():
            session.add(ReadingRow(journey="j" * 32, read_at=now(), score=0.9, verdict="positive"))
            session.flush()
            for kind, result in results.by_kind().items():
                save(result, ResultShelf(settings.results_dir).path("j" * 32, kind, result.SOPInstanceUID))
                session.add(
                    ReturnRow(
                        journey="j" * 32, destination=str(pacs.peer), kind=kind, sop_class_uid=result.SOPClassUID,
                        sop_instance_uid=result.SOPInstanceUID, changed_at=now(),
                    )
                )  # fmt: skip
        assert ReturnDesk(settings, queue).return_results("j" * 32, str(pacs.peer)) == Returned.CLOSED
    with Session(engine) as session:
        rows = session.scalars(sa.select(ReturnRow)).all()
        assert {row.kind: row.transfer_syntax_uid for row in rows} == {
            "overlay": JPEGLSLossless,
            "report": ExplicitVRLittleEndian,
        }
    queue.close()
