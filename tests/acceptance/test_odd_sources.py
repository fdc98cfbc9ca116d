"""Names in every character set, and sources that break the standard: what comes back is valid, or nothing does."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.config import disable_value_validation
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.wire import COMPREHENSIVE_3D_SR, RADIOGRAPHS, SECONDARY_CAPTURE
from tests.conformance.validators import complaints
from tests.peers.pacs import wait_for
from tests.phantom import as_bytes, make_cr

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom on the invalid sources themselves
]

SIZE: Final = (160, 140)

NAMES: Final[Mapping[str, tuple[str | list[str], bytes, str]]] = {
    # Declared, as encoded, as read. The examples of PS3.5 annexes H, I and J, or synthetic.
    "japanese": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "japanese in two sets": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "korean": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "gb18030": ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "gbk": ("GBK", "Wang^XiaoDong=王^小东".encode("gbk"), "Wang^XiaoDong=王^小东"),
    "greek": ("ISO_IR 126", "Διονυσιος^Δοκιμη".encode("iso8859_7"), "Διονυσιος^Δοκιμη"),
    "cyrillic": ("ISO_IR 144", "Люкceмбypг^Проба".encode("iso8859_5"), "Люкceмбypг^Проба"),
    "latin-1": ("ISO_IR 100", "Buc^Jérôme".encode("latin-1"), "Buc^Jérôme"),
    "utf-8": ("ISO_IR 192", "Wang^XiaoDong=王^小东=ひ".encode(), "Wang^XiaoDong=王^小东=ひ"),
    "nothing declared, ascii": ("", b"SYNTHETIC^NAME", "SYNTHETIC^NAME"),
    "nothing declared, latin-1": ("", "MÜLLER^Jörg".encode("latin-1"), "MÜLLER^Jörg"),
    "utf-8 declared, latin-1": ("ISO_IR 192", "MÜLLER^Jörg".encode("latin-1"), "MÜLLER^Jörg"),
    "japanese declared, ascii": (["", "ISO 2022 IR 87"], b"SYNTHETIC^NAME", "SYNTHETIC^NAME"),
    "unknown set declared": ("ISO_IR 999", b"SYNTHETIC^NAME", "SYNTHETIC^NAME"),
}


def _named(charset: str | list[str], encoded: bytes, number: int) -> Dataset:
    """A CR whose names have these bytes under this SpecificCharacterSet, right or wrong."""
    placeholder = b"X" * (len(encoded) + len(encoded) % 2)
    names = {"PatientName": placeholder.decode(), "ReferringPhysicianName": placeholder.decode()}
    data = as_bytes(_with(**names, PatientID=f"SYN{number}", SpecificCharacterSet=charset))
    # Read again with the bytes in place: pydicom hands on what it has not looked at.
    return dcmread(BytesIO(data.replace(placeholder, encoded.ljust(len(placeholder)))))


def _with(**values: Any) -> Dataset:
    with disable_value_validation():
        return make_cr(size=SIZE, extra=values)


def _element(keyword: str, vr: str, value: Any) -> Dataset:
    """A CR in which an attribute has another VR than the dictionary says."""
    source = _with()
    with disable_value_validation():
        source[keyword] = DataElement(source.data_element(keyword).tag, vr, value)
    return source


def _private() -> Dataset:
    source = _with()
    block = source.private_block(0x0019, "SYNTHETIC MAKER", create=True)
    block.add_new(0x01, "LO", "SYNTHETIC PRIVATE")
    block.add_new(0x02, "OB", b"\0" * 100)
    return source


REPAIRED: Final[Mapping[str, tuple[Dataset, Mapping[str, object]]]] = {
    # What the results hold instead.
    "no patient id": (_with(PatientID=None), {"PatientID": ""}),
    "no patient at all": (
        _with(PatientID=None, PatientName=None, PatientBirthDate=None, PatientSex=None), {"PatientName": ""},
    ),
    "no study date": (_with(StudyDate=None, StudyTime=None), {"StudyDate": "", "StudyTime": ""}),
    "study date that is none": (_with(StudyDate="20201399", StudyTime="2560"), {"StudyDate": "", "StudyTime": ""}),
    "sex that is none": (_with(PatientSex="U"), {"PatientSex": ""}),
    "date as text": (_element("StudyDate", "LO", "12 Aug 2020"), {"StudyDate": ""}),
    "id as short text": (_element("PatientID", "SH", "SYN-SH"), {"PatientID": "SYN-SH"}),
    "series number as text": (_element("SeriesNumber", "LO", "one"), {"StudyID": "SYN1"}),
    "private attributes": (_private(), {"PatientID": "SYN-0001"}),
    "lower-case body part": (_with(BodyPartExamined="chest"), {"PatientID": "SYN-0001"}),
}  # fmt: skip

REFUSED: Final[Mapping[str, Dataset]] = {
    "no study uid": _with(StudyInstanceUID=None),
    "empty study uid": _with(StudyInstanceUID=""),
    "study uid with letters": _with(StudyInstanceUID="1.2.study.4"),
    "long series uid": _with(SeriesInstanceUID="1." + "2" * 63),
    "no series uid": _with(SeriesInstanceUID=None),
    "rows as text": _element("Rows", "LO", "many"),
}

FAILED: Final[Mapping[str, tuple[Dataset, str]]] = {
    "study uid with a leading zero": (_with(StudyInstanceUID="1.2.03.4"), "no valid StudyInstanceUID"),
}

GOOD: Final[Mapping[str, Dataset]] = {
    **{name: _named(charset, raw, i) for i, (name, (charset, raw, _)) in enumerate(NAMES.items())},
    **{name: source for name, (source, _) in REPAIRED.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Status of each C-STORE, row of the ledger for each object, and the files that the PACS has of each source."""

    statuses: Mapping[str, int]
    rows: Mapping[str, dict[str, Any]]
    results: Mapping[str, list[Path]]
    log: str


def _send(node: RunningNode, sources: Mapping[str, Dataset]) -> dict[str, int]:
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(RADIOGRAPHS[0], ExplicitVRLittleEndian)
    association = entity.associate(node.peer.host, node.peer.port, ae_title=node.peer.ae_title)
    assert association.is_established
    with disable_value_validation():
        statuses = {name: association.send_c_store(source).Status for name, source in sources.items()}
    association.release()
    return statuses


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("odd")
    sources = {**GOOD, **REFUSED, **{name: source for name, (source, _) in FAILED.items()}}
    with running_orthanc(folder / "pacs", ae_title="PACS") as pacs:
        settings = {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "destinations": [str(pacs.peer)]}
        with running_node(folder / "node", settings) as node:
            statuses = _send(node, sources)
            returned = wait_for(pacs, 2 * len(GOOD), seconds=180)
            known = {row["sop_instance_uid"]: row for row in node.status()["objects"]}
            log = node.log.read_text("utf-8")
    files: dict[str, list[Path]] = {name: [] for name in sources}
    by_study = {str(source.get("StudyInstanceUID", "")): name for name, source in sources.items()}
    for number, result in enumerate(returned):
        path = folder / f"{number}.dcm"
        dcmwrite(path, result, enforce_file_format=True)
        files[by_study[str(result.StudyInstanceUID)]].append(path)
    rows = {n: known[str(s.SOPInstanceUID)] for n, s in sources.items() if str(s.SOPInstanceUID) in known}
    return Outcome(statuses=statuses, rows=rows, results=files, log=log)


@pytest.mark.parametrize("name", GOOD)
def test_what_comes_back_is_one_capture_and_one_report_that_validators_accept(outcome: Outcome, name: str) -> None:
    results = [dcmread(file) for file in outcome.results[name]]
    assert sorted(ds.SOPClassUID for ds in results) == sorted([SECONDARY_CAPTURE, COMPREHENSIVE_3D_SR])
    assert [complaints(file) for file in outcome.results[name]] == [[], []]
    assert outcome.rows[name]["reading"]["failure"] == ""


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_unchanged_to_the_reader_in_utf_8(outcome: Outcome, name: str) -> None:
    _, _, as_read = NAMES[name]
    for file in outcome.results[name]:
        result = dcmread(file)
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == str(result.ReferringPhysicianName) == as_read
        assert file.read_bytes().count(as_read.encode()) == 2


@pytest.mark.parametrize("name", REPAIRED)
def test_what_the_standard_does_not_allow_is_left_out_and_the_rest_stays(outcome: Outcome, name: str) -> None:
    _, expected = REPAIRED[name]
    for file in outcome.results[name]:
        result = dcmread(file)
        assert {keyword: str(result[keyword].value or "") for keyword in expected} == expected
        assert not [element.tag for element in result.iterall() if element.tag.is_private]


@pytest.mark.parametrize("name", REFUSED)
def test_a_source_that_nothing_can_refer_to_is_refused_when_it_comes(outcome: Outcome, name: str) -> None:
    assert outcome.statuses[name] == 0xA900
    assert outcome.results[name] == []


@pytest.mark.parametrize("name", FAILED)
def test_a_source_of_which_no_valid_result_can_be_made_fails_with_its_reason(outcome: Outcome, name: str) -> None:
    _, reason = FAILED[name]
    assert outcome.statuses[name] == 0x0000
    assert reason in outcome.rows[name]["reading"]["failure"]
    assert outcome.rows[name]["returns"] == []
    assert outcome.results[name] == []


def test_no_name_of_a_patient_is_in_the_log(outcome: Outcome) -> None:
    assert "radiograph read" in outcome.log
    words = {word for _, _, name in NAMES.values() for word in name.replace("=", "^").split("^") if len(word) > 3}
    assert {word for word in words if word in outcome.log} == set()
