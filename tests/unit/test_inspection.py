"""What the doctor says of each trouble, without a node."""

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.uid import UID
from sqlalchemy.orm import Session

from dicom_node.conformance.networking import proposed
from dicom_node.conformance.samples import make_samples
from dicom_node.destination import Destination, ReportClass, ResultKind
from dicom_node.inspection import software
from dicom_node.inspection.peers import sender_to
from dicom_node.inspection.premises import certificates, clock, permissions, ports, valid_until
from dicom_node.inspection.round_trip import caller_for, drawn_radiograph
from dicom_node.inspection.software import decoders, migrations
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow
from dicom_node.peers import Peer
from dicom_node.reception.intake import Accepted, judge
from dicom_node.settings import Settings
from dicom_node.wire import SECONDARY_CAPTURE
from tests.peers.authority import Authority


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    prepare(settings)
    return settings


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings)
    yield engine
    engine.dispose()


def test_every_transfer_syntax_that_is_taken_decodes_and_a_damaged_sample_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (summary,) = decoders()
    assert (summary.well, summary.detail) == (True, "16 of 16 transfer syntaxes decode")
    samples = shutil.copytree(software.SAMPLES, tmp_path / "samples")
    damaged = samples / "JPEG2000Lossless.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-900] + b"\0" * 900)
    monkeypatch.setattr(software, "SAMPLES", samples)
    failing, summary = decoders()
    assert not failing.well
    assert failing.detail.startswith("JPEG 2000 Image Compression (Lossless Only): ")
    assert summary.detail.startswith("15 of ")


def test_the_schema_is_compared_with_the_one_of_this_version(settings: Settings, engine: sa.Engine) -> None:
    assert migrations(engine).well
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
    found = migrations(engine)
    assert not found.well
    assert found.detail.startswith("schema 0003, and this version needs 00")


def test_a_clock_before_what_was_written_is_not_plausible(settings: Settings, engine: sa.Engine) -> None:
    assert clock(engine).well
    later = datetime.now(UTC) + timedelta(days=2)
    with Session(engine) as session, session.begin():
        session.add(ReadingRow(journey="j", read_at=later))
    found = clock(engine)
    assert not found.well
    assert f"already wrote at {later:%Y-%m-%d %H:%M}" in found.detail


def test_a_port_that_another_program_has_is_told_unless_it_is_the_nodes(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings.model_copy(update={"port": other.getsockname()[1]})
        assert [check.well for check in ports(taken, listening=False, serving=False)] == [False]
        assert [check.well for check in ports(taken, listening=True, serving=False)] == [True]
    assert [check.well for check in ports(taken, listening=False, serving=False)] == [True]


def test_a_data_folder_that_everybody_may_look_into_is_told(settings: Settings) -> None:
    assert permissions(settings).well
    settings.data_dir.chmod(0o755)
    found = permissions(settings)
    assert not found.well
    assert found.remedy == f"chmod o-rwx {settings.data_dir}"


def test_certificates_are_told_with_their_dates_and_a_key_of_another_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.sign("one"), authority.sign("other")
    good = Settings(tls_certificate=str(one.certificate), tls_key=str(one.key), tls_ca=str(authority.ca))
    found = list(certificates(good))
    assert [(check.name, check.well) for check in found] == [("tls_certificate", True), ("tls_ca", True)]
    assert all("is valid until" in check.detail and check.remedy for check in found)  # within 30 days
    (wrong,) = certificates(good.model_copy(update={"tls_key": str(other.key)}))
    assert not wrong.well
    now = datetime.now(UTC)
    year = timedelta(days=365)
    assert not valid_until("tls_ca", now - 2 * year, now - year).well
    assert not valid_until("tls_ca", now + year, now + 2 * year).well
    assert valid_until("tls_ca", now - year, now + year).remedy == ""


def test_what_a_destination_is_asked_for_is_what_returns_propose() -> None:
    def contexts(report: ReportClass) -> set[tuple[UID, tuple[UID, ...]]]:
        destination = Destination(peer=Peer("PACS", "localhost", 104), objects=tuple(ResultKind), report_class=report)
        sender = sender_to(destination, Settings(), timeout=1)
        return {(c.abstract_syntax, tuple(c.transfer_syntax)) for c in sender.contexts}

    # All but the compressed overlays, which this destination is not offered.
    real = {c for c in proposed(make_samples()) if c[0] != SECONDARY_CAPTURE or len(c[1]) > 1}
    assert contexts(ReportClass.COMPREHENSIVE) | contexts(ReportClass.COMPREHENSIVE_3D) == real


def test_the_drawn_radiograph_passes_the_gate_and_is_another_study_each_time() -> None:
    first, second = drawn_radiograph(), drawn_radiograph()
    verdict = judge(first, Settings())
    assert isinstance(verdict, Accepted)
    assert verdict.view == "PA"
    assert first.PatientID == "COVIDXNET-TEST"
    assert first.StudyInstanceUID != second.StudyInstanceUID
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize(
    ("calling_aes", "caller"),
    [
        ((), "COVIDXNET"),
        (("CT1@10.1.2.3", "XR1"), "XR1"),
        (("CT1@10.1.2.3", "XR1@127.0.0.0/8"), "XR1"),
        (("CT1@10.1.2.3",), "PACS"),
        (("CT1@10.1.2.3", "PACS@10.1.2.4"), None),
    ],
)
def test_the_radiograph_is_sent_as_one_who_may_call_from_here(calling_aes: tuple[str, ...], caller: str | None) -> None:
    settings = Settings(calling_aes=calling_aes, destinations=(Destination(peer=Peer("PACS", "10.1.2.4", 104)),))
    assert caller_for(settings) == caller
