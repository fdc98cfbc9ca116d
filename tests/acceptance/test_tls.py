"""TLS with real certificates, against DCMTK's implementation of it, in both directions."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.demo.orthanc import free_port
from dicom_node.errors import ConfigurationError, PeerUnreachable
from dicom_node.inspection.health import examine
from dicom_node.journey.database import open_engine
from dicom_node.peers import Peer, Tls
from dicom_node.returns.returner import Sender
from dicom_node.returns.sending import send_files
from dicom_node.settings import Settings
from dicom_node.tls import client_context, server_context
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from tests.listening import Node, associate, wait_until
from tests.peers.authority import Authority, Certificate
from tests.phantom import as_bytes, make_cr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def node_certificate(authority: Authority) -> Certificate:
    return authority.sign("node")


@pytest.fixture(scope="module")
def modality_certificate(authority: Authority) -> Certificate:
    return authority.sign("modality")


def files(certificate: Certificate, ca: Path | None = None) -> dict[str, Any]:
    return {
        "tls_certificate": str(certificate.certificate),
        "tls_key": str(certificate.key),
        "tls_ca": str(ca or ""),
    }


def dcmtk(command: str, node: Node, *arguments: str | Path) -> int:
    call = [command, *map(str, arguments[:-1] if command == "storescu" else arguments), "-aec", "COVIDXNET"]
    call += ["127.0.0.1", str(node.port), *([str(arguments[-1])] if command == "storescu" else [])]
    return subprocess.run(call, capture_output=True, timeout=60, check=False).returncode


def test_dcmtk_stores_over_tls_and_nobody_gets_in_without(
    start: Any, tmp_path: Path, authority: Authority, node_certificate: Certificate
) -> None:
    node = start(**files(node_certificate))
    radiograph = tmp_path / "1.dcm"
    radiograph.write_bytes(as_bytes(make_cr(size=(1500, 1500))))

    assert dcmtk("echoscu", node, "+tla", "+cf", authority.ca) == 0
    assert dcmtk("storescu", node, "+tla", "+cf", authority.ca, radiograph) == 0
    assert dcmtk("echoscu", node) != 0

    assert len(node.rows("select * from received where accepted")) == 1


def test_health_sees_that_a_listener_speaks_tls(
    start: Any, authority: Authority, node_certificate: Certificate
) -> None:
    node = start(**files(node_certificate, authority.ca))
    engine = open_engine(node.settings)
    for port, well in ((node.port, True), (free_port(), False)):
        checks = examine(node.settings.model_copy(update={"port": port}), engine)
        assert [check.well for check in checks if check.name == "listener"] == [well]
    engine.dispose()


def test_with_an_authority_only_its_certificates_get_in(
    start: Any, tmp_path: Path, authority: Authority, node_certificate: Certificate, modality_certificate: Certificate
) -> None:
    node = start(**files(node_certificate, authority.ca))
    other = Authority(tmp_path / "other", "other").sign("stranger")
    own, trust = modality_certificate, ("+cf", authority.ca)

    assert dcmtk("echoscu", node, "+tls", own.key, own.certificate, *trust) == 0
    assert dcmtk("echoscu", node, "+tla", *trust) != 0
    assert dcmtk("echoscu", node, "+tls", other.key, other.certificate, *trust) != 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_the_profile_are_spoken(
    start: Any, authority: Authority, node_certificate: Certificate, version: ssl.TLSVersion
) -> None:
    node = start(**files(node_certificate))
    context = client_context(Tls(ca=str(authority.ca)))
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        assert connection.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        cipher = connection.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [("TLSv1_1", "ALL:@SECLEVEL=0"), ("TLSv1_2", "AES128-GCM-SHA256"), ("TLSv1_2", "ECDHE-RSA-AES128-SHA")],
    ids=["TLS 1.1", "no forward secrecy", "no authenticated encryption"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_what_the_profile_forbids_is_not_spoken(
    start: Any, node_certificate: Certificate, version: str, ciphers: str
) -> None:
    node = start(**files(node_certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as plain, pytest.raises(OSError, match=r"."):
        context.wrap_socket(plain)


def test_silent_and_plain_connections_keep_nobody_out_of_a_listener_with_tls(
    start: Any, authority: Authority, node_certificate: Certificate
) -> None:
    node = start(**files(node_certificate))
    with ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=20))
            if number % 3:
                connection.sendall(b"\x16\x03\x01\x02\x00" if number % 3 == 1 else b"\x01\x00\x00\x00\x00\x50")
        assert dcmtk("echoscu", node, "+tla", "+cf", authority.ca) == 0


def test_a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not(
    start: Any, tmp_path: Path, authority: Authority, node_certificate: Certificate
) -> None:
    mine = Certificate(tmp_path / "node.crt", tmp_path / "node.key")
    shutil.copy(node_certificate.certificate, mine.certificate)
    shutil.copy(node_certificate.key, mine.key)
    node = start(**files(mine))

    def shown() -> bytes:
        context = client_context(Tls(ca=str(authority.ca)))
        with (
            socket.create_connection(("127.0.0.1", node.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            return connection.getpeercert(binary_form=True) or b""

    first = shown()
    renewed = authority.sign("renewed")
    shutil.copy(renewed.key, mine.key)
    shutil.copy(renewed.certificate, mine.certificate)
    wait_until(lambda: shown() != first, seconds=30)
    second = shown()
    mine.certificate.write_text("no certificate")
    time.sleep(1.5)
    assert shown() == second


@contextmanager
def storescp(folder: Path, *options: str | Path) -> Iterator[Peer]:
    """DCMTK's storage SCP with TLS."""
    port = free_port()
    folder.mkdir()
    process = subprocess.Popen(
        ["storescp", "-od", str(folder), "-aet", "PACS", *map(str, options), str(port)], stderr=subprocess.DEVNULL
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, seconds=20)
        yield Peer("PACS", "127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


def test_results_go_over_tls_to_a_peer_that_wants_to_know_who_calls(
    tmp_path: Path, authority: Authority, node_certificate: Certificate, modality_certificate: Certificate
) -> None:
    pacs = authority.sign("pacs")
    radiograph = tmp_path / "1.dcm"
    radiograph.write_bytes(as_bytes(make_cr(size=(1500, 1500))))
    tls = Tls(
        certificate=str(node_certificate.certificate), key=str(node_certificate.key), ca=str(authority.ca)
    )  # fmt: skip
    with storescp(tmp_path / "stored", "+tls", pacs.key, pacs.certificate, "+cf", authority.ca, "-rc") as peer:
        sent = list(send_files(peer, [radiograph], calling_ae="NODE", timeout=20, maximum_pixels=10**7, tls=tls))
    assert [file.problem for file in sent] == [""]
    assert len(list((tmp_path / "stored").iterdir())) == 1


@pytest.mark.parametrize("wrong", ["authority", "host", "plain"])
def test_a_peer_whose_certificate_is_not_to_be_trusted_gets_nothing(
    tmp_path: Path, authority: Authority, wrong: str
) -> None:
    signer = Authority(tmp_path / "other", "other") if wrong == "authority" else authority
    pacs = signer.sign("false", address="10.9.9.9" if wrong == "host" else "127.0.0.1")
    options: list[str | Path] = [] if wrong == "plain" else ["+tls", pacs.key, pacs.certificate, "-ic"]
    kinds = [(COMPUTED_RADIOGRAPHY, make_cr().file_meta.TransferSyntaxUID)]
    with storescp(tmp_path / "stored", *options) as peer:
        sender = Sender(peer, kinds, calling_ae="NODE", timeout=5, tls=Tls(ca=str(authority.ca)))
        with pytest.raises(PeerUnreachable, match="certificate"):
            sender.__enter__()
        if wrong == "host":
            with Sender(
                peer, kinds, calling_ae="NODE", timeout=5, tls=Tls(ca=str(authority.ca), check_host=False)
            ) as unchecked:
                assert unchecked.contexts


def test_echo_speaks_tls_to_the_destinations_that_have_it(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("COVIDXNET_")]:
        monkeypatch.delenv(name)
    pacs = authority.sign("pacs")
    with storescp(tmp_path / "stored", "+tls", pacs.key, pacs.certificate, "-ic") as peer:
        monkeypatch.setenv("COVIDXNET_TLS_CA", str(authority.ca))
        monkeypatch.setenv("COVIDXNET_NETWORK_TIMEOUT", "5")
        assert CliRunner().invoke(app, ["echo", "--tls", str(peer)]).exit_code == 0
        assert CliRunner().invoke(app, ["echo", str(peer)]).exit_code == 1
        monkeypatch.setenv("COVIDXNET_DESTINATIONS", f'[{{"peer": "{peer}", "tls": true}}]')
        assert CliRunner().invoke(app, ["echo", "PACS"]).exit_code == 0


@pytest.mark.parametrize(
    "tls",
    [Tls(certificate="/nowhere", key="/nowhere"), Tls(certificate="/nowhere"), Tls(ca="/nowhere")],
    ids=["no file", "no key", "no authority"],
)
def test_files_that_cannot_be_used_are_a_wrong_setting(tls: Tls) -> None:
    with pytest.raises(ConfigurationError, match=r"tls_|TLS"):
        server_context(tls)


def test_a_key_with_a_password_is_refused_instead_of_asked_for(tmp_path: Path, node_certificate: Certificate) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-in", str(node_certificate.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigurationError, match="TLS files"):
        server_context(Tls(certificate=str(node_certificate.certificate), key=str(locked)))


def test_the_plain_listener_knows_nothing_of_tls(start: Any) -> None:
    association = associate(start())
    assert association.is_established
    association.release()
    assert Settings().tls == Tls()
