"""Whether a header speaks of a chest, in the languages in which modalities and schedules are set up."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pydicom import Dataset

from dicom_node.reception.attributes import items, text
from dicom_node.reception.words import plain, words


class Chest(Enum):
    """Whether the body part is the chest."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPart:
    """The answer and the attribute that gave it, "" if none did."""

    answer: Chest
    attribute: str


_CHEST_CODES: Final = {
    ("SCT", "816094009"),  # thorax
    ("SCT", "51185008"),  # thoracic structure: Chest in CID 4009 before 2020
    ("SCT", "39607008"),  # lung
    ("SCT", "302551006"),  # entire thorax
    ("SCT", "43799004"),  # thoracic cavity
    ("SRT", "T-D3000"),
    ("SRT", "T-28000"),
    ("SRT", "T-D3200"),
    ("SNM3", "T-D3000"),
    ("SNM3", "T-28000"),
}
"""AnatomicRegionSequence. Source: PS3.16 CID 4009 DX Anatomy Imaged, CID 4031; the SRT codes that SCT replaced."""

_CHEST_STEMS: Final = (
    "CHEST", "THORAX", "TORAX", "TORACE", "TORAKS", "LUNG", "PULMO", "POLMON", "POUMON", "LONGEN",
    "BRUSTKORB", "BROSTKORG", "BRYSTKASSE", "KLATKI PIERSIOWEJ", "KLATKA PIERSIOWA", "PLUC", "PLICE", "HRUDNIK",
    "KEUHKO", "MELLKAS", "AKCIGER", "GOGUS", "ГРУДНОИ КЛЕТКИ", "ГРУДНАЯ КЛЕТКА", "ЛЕГКИХ", "ЛЕГКИЕ",
    "ΘΩΡΑΚ", "胸", "肺", "흉부", "폐", "صدر",
)  # fmt: skip
"""Beginnings of words for the chest and the lungs, accents removed; found anywhere in a text."""

_CHEST_WORDS: Final = frozenset({"CXR", "THX", "PECHO", "LUNGE", "LUNGEN", "LUNGOR", "TUDO", "ОГК"})

_OTHER_STEMS: Final = (
    "ABDOM", "ADDOM", "PELVI", "EXTREMIT", "SHOULDER", "SCHULTER", "SCHADEL", "CRANI", "CRANEO", "WIRBELS", "FINGER",
    "FEMUR", "TIBIA", "FIBULA", "HUMER", "CLAVIC", "SCAPULA", "STERNUM", "MAMMO", "CALCANE", "SACRUM", "SACRO",
    "COCCYX", "LUMBAR", "LUMBAL", "CERVICAL", "GENOU", "RODILLA", "GINOCCHI", "TOBILLO", "CAVIGLIA", "CHEVILLE",
    "ANKLE", "ELBOW", "WRIST", "UNTERSCHENKEL", "OBERSCHENKEL", "HANDGELENK", "SPRUNGGELENK", "ELLENBOGEN", "BECKEN",
    "HUFT", "HUEFT", "SPINE", "RACHIS", "COLUMNA", "COLONNA", "COLUNA", "FOREARM", "PATELLA", "MANDIB", "MAXILLA",
    "DENTAL", "PANORAM", "SINUS", "RADIUS", "METACARP", "METATARS", "腹", "骨盤", "骨盆", "膝", "脊", "腰", "頭", "肩",
    "手", "足", "복부", "무릎", "척추",
)  # fmt: skip
"""Beginnings of words for other parts of the body, long enough not to turn up within other words."""

_OTHER_WORDS: Final = frozenset({
    "ABD", "ARM", "BACINO", "BASSIN", "BRAS", "BRAZO", "BREAST", "BWS", "CADERA", "CODO", "COUDE", "CSPINE", "EPAULE",
    "EXM", "FOOT", "FEET", "FUSS", "GOMITO", "HAND", "HANDS", "HANCHE", "HEAD", "HEEL", "HIP", "HIPS", "HOMBRO",
    "HWS", "JAMBE", "JAW", "JOELHO", "KNEE", "KNEES", "KNIE", "LEG", "LEGS", "LSPINE", "LWS", "MAIN", "MANO", "MAO",
    "MUNECA", "NECK", "OMBRO", "PELVES", "PIED", "PIE", "PIEDE", "PIERNA", "POIGNET", "POLSO", "PUNHO", "RIB", "RIBS",
    "RIPPEN", "SCHAEDEL", "SKULL", "SPALLA", "SSPINE", "TEETH", "THIGH", "THUMB", "TOE", "TOES", "TSPINE", "ULNA",
})  # fmt: skip

_FREE_TEXTS: Final = (
    "ProtocolName",
    "SeriesDescription",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "StudyDescription",
)
"""From what the modality was told about this image to what was ordered for the study."""


def chest(header: Dataset) -> BodyPart:
    """Find out whether the image is one of the chest; the first attribute with a clear answer decides.

    A text that names the chest and another part, or none that is known, is no answer. Never raises.
    """
    for attribute, answer in _answers(header):
        if answer is not Chest.UNKNOWN:
            return BodyPart(answer=answer, attribute=attribute)
    return BodyPart(answer=Chest.UNKNOWN, attribute="")


def _answers(header: Dataset) -> Iterator[tuple[str, Chest]]:
    yield "BodyPartExamined", chest_in_text(text(header, "BodyPartExamined"))
    for item in items(header, "AnatomicRegionSequence"):
        code = text(item, "CodingSchemeDesignator"), text(item, "CodeValue")
        yield "AnatomicRegionSequence", Chest.YES if code in _CHEST_CODES else chest_in_text(text(item, "CodeMeaning"))
    for keyword in _FREE_TEXTS:
        yield keyword, chest_in_text(text(header, keyword))
    for item in items(header, "ProcedureCodeSequence"):
        yield "ProcedureCodeSequence", chest_in_text(text(item, "CodeMeaning"))


def chest_in_text(description: str) -> Chest:
    """Whether a text names the chest, another part of the body, or neither or both (UNKNOWN)."""
    content = plain(description)
    tokens = frozenset(words(content))
    is_chest = any(stem in content for stem in _CHEST_STEMS) or bool(tokens & _CHEST_WORDS)
    is_other = any(stem in content for stem in _OTHER_STEMS) or bool(tokens & _OTHER_WORDS)
    if is_chest == is_other:
        return Chest.UNKNOWN
    return Chest.YES if is_chest else Chest.NO
