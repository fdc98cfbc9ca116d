"""What the conformance statement claims of the network is negotiated for real, claim by claim."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import CTImageStorage, Verification

from dicom_node.conformance.samples import make_samples
from dicom_node.destination import Commitment
from dicom_node.journey.database import prepare
from dicom_node.journey.queue import JourneyQueue
from dicom_node.journey.visit import PROOFS_ASKED_FOR
from dicom_node.peers import Peer
from dicom_node.reception.listener import Listener
from dicom_node.returns.returner import Sender
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.wire import COMPUTED_RADIOGRAPHY

STATEMENT = (Path(__file__).parents[2] / "deploy" / "handbook" / "conformance.md").read_text("utf-8")
MPEG4 = UID("1.2.840.10008.1.2.4.102")


def tables(caption: str) -> list[list[list[str]]]:
    """The tables with this caption, as rows of cells without marks of code, head first."""
    found = re.findall(rf"^\*{re.escape(caption)}\*\n\n((?:\|.*\n)+)", STATEMENT, re.MULTILINE)
    assert found, f"the statement has no table {caption!r}"
    rows = [[[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in t.splitlines()] for t in found]
    return [[table[0], *table[2:]] for table in rows]


def claimed_by_the_listener() -> list[tuple[str, str]]:
    """SOP class and transfer syntax UIDs of each presentation context that the statement says is accepted."""
    (syntaxes,) = tables("Transfer syntaxes")
    sets = {
        name: [row[1] for row in syntaxes[1:] if row[column] == "yes"]
        for column, name in enumerate(syntaxes[0])
        if name.startswith("set ")
    }
    rows = [row for table in tables("Presentation contexts accepted") for row in table[1:]]
    return [(row[1], syntax) for row in rows for syntax in sets[row[2]]]


@pytest.fixture(scope="module")
def listens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("node"), port=0, network_timeout=5)
    prepare(settings)
    queue = JourneyQueue(settings)
    with Listener(settings, queue, Spool(settings.spool_dir, minimum_free_bytes=0)) as listener:
        yield Peer(settings.ae_title, "127.0.0.1", listener.port)
    queue.close()


def test_every_context_that_the_statement_claims_is_accepted(listens: Peer) -> None:
    claims = claimed_by_the_listener()
    assert len(claims) == len(set(claims)) >= 3 * 16 + 4
    for start in range(0, len(claims), 128):  # PS3.8 9.3.2.2: as many contexts fit into one proposal
        part = claims[start : start + 128]
        entity = AE()
        entity.requested_contexts = [build_context(sop_class, syntax) for sop_class, syntax in part]
        association = entity.associate(listens.host, listens.port, ae_title=listens.ae_title)
        got = [(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts]
        assert association.rejected_contexts == []
        assert got == part
        association.release()


def test_what_the_statement_does_not_claim_is_refused(listens: Peer) -> None:
    entity = AE()
    entity.requested_contexts = [
        build_context(Verification, ImplicitVRLittleEndian),
        build_context(CTImageStorage, ImplicitVRLittleEndian),
        build_context(COMPUTED_RADIOGRAPHY, MPEG4),
        build_context("1.2.840.10008.5.1.4.1.1.88.34", JPEG2000Lossless),
    ]
    association = entity.associate(listens.host, listens.port, ae_title=listens.ae_title)
    assert [c.abstract_syntax for c in association.accepted_contexts] == [Verification]
    # PS3.8 table 9-18: 3 abstract syntax, 4 transfer syntaxes not supported.
    assert [c.result for c in association.rejected_contexts] == [3, 4, 4]
    association.release()


def test_of_several_transfer_syntaxes_the_first_in_the_table_of_the_statement_is_taken(listens: Peer) -> None:
    entity = AE()
    entity.requested_contexts = [
        build_context(COMPUTED_RADIOGRAPHY, [MPEG4, JPEG2000Lossless, ExplicitVRLittleEndian]),
        build_context(COMPUTED_RADIOGRAPHY, [JPEG2000Lossless, JPEGLSLossless]),
    ]
    association = entity.associate(listens.host, listens.port, ae_title=listens.ae_title)
    (table,) = tables("Transfer syntaxes")
    order = [row[1] for row in table]
    assert order.index(ExplicitVRLittleEndian) < order.index(JPEGLSLossless) < order.index(JPEG2000Lossless)
    assert [c.transfer_syntax for c in association.accepted_contexts] == [[ExplicitVRLittleEndian], [JPEGLSLossless]]
    association.release()


def test_the_policies_of_the_listener_are_those_in_its_answer(listens: Peer) -> None:
    (policies,) = tables("Associations")
    claimed = {row[0]: row[1] for row in policies}
    entity = AE()
    entity.add_requested_context(Verification)
    association = entity.associate(listens.host, listens.port, ae_title=listens.ae_title)
    acceptor = association.acceptor
    assert str(acceptor.maximum_length) == claimed["PDU length asked for (bytes)"]
    assert str(acceptor.implementation_class_uid) == claimed["Implementation class UID"]
    assert acceptor.implementation_version_name == claimed["Implementation version name"]
    assert acceptor.asynchronous_operations == (1, 1)
    assert claimed["Outstanding asynchronous transactions"] == "1"
    association.release()


def test_what_the_node_proposes_to_a_destination_is_what_the_statement_says() -> None:
    (contexts,) = tables("Presentation contexts proposed")
    claimed = {(row[1], tuple(re.findall(r"(1\.2\.[\d.]+)(?=`| )", row[2]))) for row in contexts[1:]}
    proposals: list[tuple[str, tuple[str, ...]]] = []

    def note(event: evt.Event) -> None:
        proposals.extend(
            (str(c.abstract_syntax), tuple(map(str, c.transfer_syntax)))
            for c in event.assoc.requestor.requested_contexts
        )
        (policies,) = tables("Associations")
        asked = {row[0]: row[2] for row in policies}["PDU length asked for (bytes)"]
        assert str(event.assoc.requestor.maximum_length) == asked
        named = {row[0]: row[2] for row in policies}
        assert str(event.assoc.requestor.implementation_class_uid) == named["Implementation class UID"]
        assert event.assoc.requestor.implementation_version_name == named["Implementation version name"]

    pacs = AE(ae_title="PACS")
    for uid, syntaxes in claimed:
        pacs.add_supported_context(uid, list(syntaxes))
    server = pacs.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, note), (evt.EVT_C_STORE, lambda _: 0x0000)]
    )
    assert server is not None
    objects = [result for sample in make_samples().all for result in sample.results.values()]
    kinds = [(result.SOPClassUID, result.file_meta.TransferSyntaxUID) for result in objects]
    try:
        with Sender(
            Peer("PACS", "127.0.0.1", server.server_address[1]),
            kinds,
            calling_ae="COVIDXNET",
            timeout=10,
            compression=[JPEGLSLossless, JPEG2000Lossless, RLELossless],
            services=PROOFS_ASKED_FOR[Commitment.AUTO],
        ) as sender:
            answers = [sender.send(result) for result in objects]
    finally:
        server.shutdown()
    assert [answer.status for answer in answers] == [0x0000] * len(objects)
    assert set(proposals) == claimed
