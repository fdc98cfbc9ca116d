from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from dicom_node.reception.anatomy import Chest, chest_in_text
from dicom_node.reception.intake import Accepted, Reason, Refused, View, judge
from dicom_node.reception.projection import Side, side_in_text
from dicom_node.settings import Settings

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SETTINGS = Settings()


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(scheme: str, value: str, meaning: str = "") -> list[Dataset]:
    return [item(CodingSchemeDesignator=scheme, CodeValue=value, CodeMeaning=meaning)]


def header(**changes: Any) -> Dataset:
    """A PA chest; a change to None removes the attribute."""
    attributes: dict[str, Any] = {
        "SOPClassUID": CR,
        "Rows": 2000,
        "Columns": 1800,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        **changes,
    }
    return item(**{keyword: value for keyword, value in attributes.items() if value is not None})


def refusal(dataset: Dataset, settings: Settings = SETTINGS) -> Reason | None:
    verdict = judge(dataset, settings)
    return verdict.reason if isinstance(verdict, Refused) else None


def acceptance(dataset: Dataset) -> Accepted:
    verdict = judge(dataset, SETTINGS)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def test_a_frontal_chest_is_accepted_with_its_evidence() -> None:
    assert judge(header(), SETTINGS) == Accepted(view=View.PA, evidence="ViewPosition=PA", flags=())


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("RG1_UNCR.dcm", Accepted(view=View.PA, evidence="ViewPosition=PA")),
        ("RG1_J2KR.dcm", Accepted(view=View.PA, evidence="ViewPosition=PA")),
        ("RG3_UNCR.dcm", Refused(reason=Reason.NOT_CHEST, detail="BodyPartExamined names another part of the body.")),
    ],
)
def test_radiographs_of_real_modalities_are_told_apart(name: str, verdict: Accepted | Refused) -> None:
    assert judge(dcmread(str(get_testdata_file(name)), stop_before_pixels=True), SETTINGS) == verdict


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ManufacturerModelName": "COVID-XNet node"}, Reason.OWN_RESULT),
        ({"ContributingEquipmentSequence": [item(ManufacturerModelName="COVID-XNet node")]}, Reason.OWN_RESULT),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ManufacturerModelName": "COVID-XNet node"},
            Reason.OWN_RESULT,
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Reason.NOT_A_RADIOGRAPH),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.34"}, Reason.NOT_A_RADIOGRAPH),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Reason.NOT_A_RADIOGRAPH),
        ({"SOPClassUID": None}, Reason.NOT_A_RADIOGRAPH),
        ({"SOPClassUID": DX_FOR_PROCESSING}, Reason.FOR_PROCESSING),
        ({"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "WSD"}, Reason.DERIVED),
        ({"ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "YES"}, Reason.DERIVED),
        ({"ImageType": ["DERIVED", "SECONDARY", "", "CAD"]}, Reason.DERIVED),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN_SAVE"]}, Reason.DERIVED),
        ({"NumberOfFrames": 2}, Reason.MULTI_FRAME),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, Reason.NOT_GREYSCALE),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.NOT_GREYSCALE),
        ({"Rows": 127}, Reason.TOO_SMALL),
        ({"Columns": 127}, Reason.TOO_SMALL),
        ({"Rows": None}, Reason.TOO_SMALL),
        ({"BodyPartExamined": "HAND"}, Reason.NOT_CHEST),
        ({"ViewPosition": "LL"}, Reason.LATERAL),
        ({"ViewPosition": "LAO"}, Reason.OBLIQUE),
    ],
)
def test_what_is_no_frontal_chest_is_refused_with_its_reason(changes: dict[str, Any], reason: Reason) -> None:
    assert refusal(header(**changes)) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPClassUID": DX},
        {"NumberOfFrames": 1},
        {"Rows": 128, "Columns": 128},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": None},
        {"ImageType": ["DERIVED", "PRIMARY"]},
        {"ImageType": ["DERIVED", "PRIMARY"], "BurnedInAnnotation": "YES"},
        {"ContributingEquipmentSequence": [item(ManufacturerModelName="Anonymiser")]},
    ],
)
def test_ordinary_variations_are_accepted_without_a_flag(changes: dict[str, Any]) -> None:
    assert acceptance(header(**changes)).flags == ()


def test_a_processed_secondary_image_that_is_no_result_is_read_with_a_flag() -> None:
    assert acceptance(header(ImageType=["DERIVED", "SECONDARY"])).flags == ("derived image",)


def test_images_for_processing_are_read_when_the_settings_say_so() -> None:
    assert refusal(header(SOPClassUID=DX_FOR_PROCESSING), Settings(read_for_processing=True)) is None


def test_the_minimum_side_comes_from_the_settings() -> None:
    assert refusal(header(Rows=500), Settings(minimum_side=600)) is Reason.TOO_SMALL


def test_reasons_stand_in_their_order() -> None:
    everything_wrong: dict[str, Any] = {
        "ManufacturerModelName": "COVID-XNet node",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
        "ImageType": ["DERIVED", "SECONDARY"],
        "ConversionType": "WSD",
        "NumberOfFrames": 5,
        "SamplesPerPixel": 3,
        "Rows": 16,
        "BodyPartExamined": "HAND",
        "ViewPosition": "LL",
    }
    repairs = (
        (Reason.OWN_RESULT, {"ManufacturerModelName": "DR 1"}),
        (Reason.NOT_A_RADIOGRAPH, {"SOPClassUID": DX_FOR_PROCESSING}),
        (Reason.FOR_PROCESSING, {"SOPClassUID": CR}),
        (Reason.DERIVED, {"ImageType": ["ORIGINAL", "PRIMARY"]}),
        (Reason.MULTI_FRAME, {"NumberOfFrames": 1}),
        (Reason.NOT_GREYSCALE, {"SamplesPerPixel": 1}),
        (Reason.TOO_SMALL, {"Rows": 2000}),
        (Reason.NOT_CHEST, {"BodyPartExamined": "CHEST"}),
        (Reason.LATERAL, {"ViewPosition": "PA"}),
    )
    for reason, repair in repairs:
        assert refusal(header(**everything_wrong)) is reason
        everything_wrong |= repair
    assert refusal(header(**everything_wrong)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"BodyPartExamined": "THORAX"},
        {"BodyPartExamined": "LUNG"},
        {"BodyPartExamined": "TORAX"},
        {"BodyPartExamined": "CHEST_PA"},
        {"BodyPartExamined": "chest"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("SCT", "816094009")},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("SCT", "51185008")},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("SRT", "T-D3000")},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("99LOCAL", "7", "Chest")},
        {"BodyPartExamined": "UNKNOWN", "ProtocolName": "Thorax p.a."},
        {"BodyPartExamined": None, "SeriesDescription": "Chest PA"},
        {"BodyPartExamined": None, "StudyDescription": "RX TÓRAX"},
        {"BodyPartExamined": "", "AcquisitionDeviceProcessingDescription": "[CHEST,GENERAL     ]"},
        {"BodyPartExamined": None, "ProcedureCodeSequence": code("LN", "36643-5", "XR Chest 2 Views")},
        {"BodyPartExamined": "CHEST", "StudyDescription": "ABDOMEN"},
    ],
)
def test_a_chest_is_known_by_the_first_attribute_with_a_clear_answer(changes: dict[str, Any]) -> None:
    assert acceptance(header(**changes)).flags == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"BodyPartExamined": "EXTREMITY"},
        {"BodyPartExamined": "LOW_EXM"},
        {"BodyPartExamined": "TSPINE"},
        {"BodyPartExamined": "ABDOMEN", "StudyDescription": "CHEST AND ABDOMEN"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("SCT", "122496007", "Lumbar spine")},
        {"BodyPartExamined": None, "ProtocolName": "Knie rechts a.p."},
        {"BodyPartExamined": None, "StudyDescription": "Non-ossifying fibroma of distal tibia"},
    ],
)
def test_another_part_of_the_body_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(header(**changes)) is Reason.NOT_CHEST


@pytest.mark.parametrize(
    "changes",
    [
        {"BodyPartExamined": None},
        {"BodyPartExamined": ""},
        {"BodyPartExamined": "UNKNOWN"},
        {"BodyPartExamined": "CHESTABDOMEN"},
        {"BodyPartExamined": None, "StudyDescription": "Portable"},
        {"BodyPartExamined": None, "SeriesDescription": "Thorax und Abdomen"},
    ],
)
def test_without_a_clear_body_part_the_radiograph_goes_on_with_a_flag(changes: dict[str, Any]) -> None:
    assert acceptance(header(**changes)).flags == ("body part unknown",)


@pytest.mark.parametrize(
    ("description", "answer"),
    [
        ("XR CHEST 2 VW", Chest.YES),
        ("Röntgen-Thorax in 2 Ebenen", Chest.YES),
        ("Thoraxaufnahme liegend", Chest.YES),
        ("RX TORACE", Chest.YES),
        ("Radiographie pulmonaire de face", Chest.YES),
        ("Radiografía de tórax PA", Chest.YES),
        ("RAIO X DE TÓRAX", Chest.YES),
        ("RTG klatki piersiowej", Chest.YES),
        ("Lungröntgen", Chest.YES),
        ("Akciğer grafisi", Chest.YES),
        ("Органы грудной клетки", Chest.YES),
        ("胸部正位", Chest.YES),
        ("胸部正面", Chest.YES),
        ("흉부 PA", Chest.YES),
        ("CXR portable", Chest.YES),
        ("Thoracic spine AP", Chest.NO),
        ("BWS seitlich", Chest.NO),
        ("Rodilla derecha AP", Chest.NO),
        ("Genou gauche face", Chest.NO),
        ("Bacino AP", Chest.NO),
        ("Hüfte links", Chest.NO),
        ("腹部立位", Chest.NO),
        ("RIBS LEFT", Chest.NO),
        ("CHEST AND RIBS", Chest.UNKNOWN),
        ("ESTUDO", Chest.UNKNOWN),
        ("PHILIPS", Chest.UNKNOWN),
        ("", Chest.UNKNOWN),
    ],
)
def test_body_parts_are_understood_in_many_languages(description: str, answer: Chest) -> None:
    assert chest_in_text(description) is answer


@pytest.mark.parametrize(
    ("changes", "view", "evidence"),
    [
        ({"ViewPosition": "AP"}, View.AP, "ViewPosition=AP"),
        ({"ViewPosition": "pa "}, View.PA, "ViewPosition=PA"),
        ({"ViewPosition": "PA ERECT"}, View.PA, "ViewPosition=PA"),
        ({"ViewPosition": "FRONTAL"}, View.FRONTAL, "ViewPosition=frontal"),
        ({"ViewPosition": "", "ViewCodeSequence": code("SCT", "272479007")}, View.PA, "ViewCodeSequence=272479007"),
        ({"ViewPosition": None, "ViewCodeSequence": code("SCT", "399348003")}, View.AP, "ViewCodeSequence=399348003"),
        ({"ViewPosition": None, "ViewCodeSequence": code("SRT", "R-10206")}, View.AP, "ViewCodeSequence=R-10206"),
        ({"ViewPosition": None, "ViewCodeSequence": code("SRT", "R-10214")}, View.PA, "ViewCodeSequence=R-10214"),
        ({"ViewPosition": "X", "PatientOrientation": ["L", "F"]}, View.FRONTAL, "PatientOrientation=L\\F"),
        ({"ViewPosition": None, "PatientOrientation": ["R", "F"]}, View.FRONTAL, "PatientOrientation=R\\F"),
        ({"ViewPosition": None, "SeriesDescription": "Thorax p.a."}, View.PA, "SeriesDescription=PA"),
        ({"ViewPosition": None, "ProtocolName": "CHEST A-P"}, View.AP, "ProtocolName=AP"),
        (
            {"ViewPosition": None, "AcquisitionDeviceProcessingDescription": "[CHEST,FRONT]"},
            View.FRONTAL,
            "AcquisitionDeviceProcessingDescription=frontal",
        ),
    ],
)
def test_a_frontal_view_is_known_by_the_first_attribute_that_names_one(
    changes: dict[str, Any], view: View, evidence: str
) -> None:
    assert judge(header(**changes), SETTINGS) == Accepted(view=view, evidence=evidence)


@pytest.mark.parametrize(
    "changes",
    [
        {"ViewPosition": "LL"},
        {"ViewPosition": "RL"},
        {"ViewPosition": "LATERAL"},
        {"ViewPosition": "LAT"},
        {"ViewPosition": None, "ViewCodeSequence": code("SCT", "399067008")},
        {"ViewPosition": None, "ViewCodeSequence": code("SCT", "399173006")},
        {"ViewPosition": None, "ViewCodeSequence": code("SCT", "399198007")},
        {"ViewPosition": None, "PatientOrientation": ["A", "F"]},
        {"ViewPosition": None, "PatientOrientation": ["P", "F"]},
        {"ViewPosition": None, "SeriesDescription": "Thorax seitlich"},
        {"ViewPosition": None, "ProtocolName": "Chest Lateral"},
        {"ViewPosition": None, "AcquisitionDeviceProcessingDescription": "[CHEST,LATERAL]"},
    ],
)
def test_a_lateral_view_is_refused_whatever_attribute_names_it(changes: dict[str, Any]) -> None:
    assert refusal(header(**changes)) is Reason.LATERAL


def test_attributes_that_contradict_each_other_are_resolved_by_their_order_and_flagged() -> None:
    verdict = judge(header(ViewPosition="PA", SeriesDescription="Chest lateral"), SETTINGS)

    assert verdict == Accepted(
        view=View.PA, evidence="ViewPosition=PA, against SeriesDescription=lateral", flags=("view contradicted",)
    )
    assert judge(header(ViewPosition="LL", SeriesDescription="Chest PA"), SETTINGS) == Refused(
        reason=Reason.LATERAL, detail="ViewPosition=LL, against SeriesDescription=PA."
    )


def test_frontal_and_pa_do_not_contradict_each_other_but_pa_and_ap_do() -> None:
    assert acceptance(header(PatientOrientation=["L", "F"])).flags == ()
    assert acceptance(header(SeriesDescription="Chest AP")).flags == ("view contradicted",)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ViewPosition": "ANTERIOR"},
        {"PatientOrientation": ["L", "P"]},
        {"PatientOrientation": ["L"]},
        {"PatientOrientation": ["", ""]},
        {"StudyDescription": "CHEST PA AND LATERAL"},
        {"SeriesDescription": "CHEST PA/LAT"},
    ],
)
def test_without_a_usable_view_the_radiograph_goes_on_with_a_flag(changes: dict[str, Any]) -> None:
    assert judge(header(**{"ViewPosition": None, **changes}), SETTINGS) == Accepted(
        view=View.UNKNOWN, evidence="", flags=("view unknown",)
    )


@pytest.mark.parametrize(
    ("description", "side"),
    [
        ("CHEST P.A.", Side.PA),
        ("Thorax p. a.", Side.PA),
        ("postero-anterior", Side.PA),
        ("Antero Posterior", Side.AP),
        ("AP supine", Side.AP),
        ("AP/PA", Side.FRONTAL),
        ("thorax de face", Side.FRONTAL),
        ("tórax frente", Side.FRONTAL),
        ("胸部正位", Side.FRONTAL),
        ("胸部侧位", Side.LATERAL),
        ("thorax de profil", Side.LATERAL),
        ("tórax perfil", Side.LATERAL),
        ("Thorax LL", Side.LATERAL),
        ("latero-laterale", Side.LATERAL),
        ("LEFT LATERAL DECUBITUS", Side.OBLIQUE),
        ("decúbito supino AP", Side.AP),
        ("LPO oblique", Side.OBLIQUE),
        ("PA and lateral", None),
        ("bilateral", None),
        ("APPLICATION", None),
        ("", None),
    ],
)
def test_views_are_understood_in_many_languages(description: str, side: Side | None) -> None:
    assert side_in_text(description) is side


def test_no_free_text_of_the_header_reaches_the_verdict() -> None:
    name = "MUSTERMANN"
    verdicts = [
        judge(header(ViewPosition=None, SeriesDescription=f"{name} Thorax PA"), SETTINGS),
        judge(header(BodyPartExamined=None, StudyDescription=f"{name} Hand"), SETTINGS),
        judge(header(ViewPosition=f"LAT {name}"[:16]), SETTINGS),
        judge(header(ViewPosition="PA", SeriesDescription=f"{name} lateral"), SETTINGS),
    ]

    assert [name in str(verdict) for verdict in verdicts] == [False] * 4
