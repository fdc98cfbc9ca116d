"""From which side a chest was taken, as the attributes of a header tell it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom import Dataset

from dicom_node.reception.attributes import items, text, texts
from dicom_node.reception.words import plain, words


class Side(StrEnum):
    """Projection that an attribute names."""

    PA = "PA"
    AP = "AP"
    FRONTAL = "frontal"
    """PA or AP."""
    LATERAL = "lateral"
    OBLIQUE = "oblique"
    """Neither frontal nor lateral, or taken of a patient who lies on the side."""

    def contradicts(self, other: "Side") -> bool:
        """Whether both cannot be true of one image."""
        frontal = {Side.PA, Side.AP, Side.FRONTAL}
        return self is not other and not ({self, other} <= frontal and Side.FRONTAL in (self, other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one attribute says. `term` is the recognised word or code, never free text."""

    attribute: str
    term: str
    side: Side

    def __str__(self) -> str:
        return f"{self.attribute}={self.term}"


_VIEW_CODES: Final = {
    "272479007": Side.PA,  # postero-anterior
    "399348003": Side.AP,  # antero-posterior
    "399033003": Side.FRONTAL,  # frontal
    "399067008": Side.LATERAL,  # lateral
    "399173006": Side.LATERAL,  # left lateral
    "399198007": Side.LATERAL,  # right lateral
    "399260004": Side.LATERAL,  # medial-lateral
    "399352003": Side.LATERAL,  # lateral-medial
    "30730003": Side.LATERAL,  # sagittal
    "399182000": Side.OBLIQUE,  # oblique
    "399135007": Side.OBLIQUE,  # left anterior oblique
    "399356000": Side.OBLIQUE,  # right anterior oblique
    "399006002": Side.OBLIQUE,  # left posterior oblique
    "399038007": Side.OBLIQUE,  # right posterior oblique
    "399184004": Side.OBLIQUE,  # left oblique
    "399236003": Side.OBLIQUE,  # right oblique
    "399160007": Side.OBLIQUE,  # frontal oblique
    "260427002": Side.OBLIQUE,  # lateral oblique
    "260426006": Side.OBLIQUE,  # medial oblique
    "399059000": Side.OBLIQUE,  # postero-anterior oblique
    "399312000": Side.OBLIQUE,  # antero-posterior oblique
    # The SRT codes that the SCT codes replaced (PS3.16 annex O).
    "R-10214": Side.PA,
    "R-40888": Side.PA,
    "R-10206": Side.AP,
    "R-10202": Side.FRONTAL,
    "R-102CD": Side.LATERAL,
    "R-10236": Side.LATERAL,
    "R-10232": Side.LATERAL,
    "R-10224": Side.LATERAL,
    "R-10228": Side.LATERAL,
    "R-102C1": Side.OBLIQUE,
    "R-10220": Side.OBLIQUE,
    "R-40985": Side.OBLIQUE,
    "R-10212": Side.OBLIQUE,
    "R-10210": Side.OBLIQUE,
    "R-10238": Side.OBLIQUE,
    "R-10234": Side.OBLIQUE,
}
"""ViewCodeSequence. Source: PS3.16 CID 4010 DX View."""

_VIEW_POSITIONS: Final = {
    "LL": Side.LATERAL,
    "RL": Side.LATERAL,
    "LLD": Side.OBLIQUE,
    "RLD": Side.OBLIQUE,
    "LLO": Side.OBLIQUE,
    "RLO": Side.OBLIQUE,
    "LAO": Side.OBLIQUE,
    "RAO": Side.OBLIQUE,
    "LPO": Side.OBLIQUE,
    "RPO": Side.OBLIQUE,
}
"""ViewPosition, beside what is understood in every text. Source: PS3.3 C.8.1.1 (CR Series), C.8.11.5 (DX)."""

_SIDE_OF_WORD: Final = {
    **dict.fromkeys(("PA", "POSTEROANTERIOR", "DORSOVENTRAL", "背腹"), Side.PA),
    **dict.fromkeys(("AP", "ANTEROPOSTERIOR", "VENTRODORSAL"), Side.AP),
    **dict.fromkeys(("FRONTAL", "FRONTALE", "FACE", "FRENTE", "FRONT", "正位", "正面", "후전"), Side.FRONTAL),
    **dict.fromkeys(
        (
            "LAT", "LATERAL", "LATERALE", "LATERALIS", "LATLAT", "LATEROLATERAL", "LATEROLATERALE", "SEITLICH",
            "PROFIL", "PERFIL", "BOCZNE", "BOCNI", "BOCNA", "БОКОВАЯ", "LL", "侧位", "側位", "側面", "측면",
        ),
        Side.LATERAL,
    ),
    **dict.fromkeys(("OBLIQUE", "OBL", "OBLIQUA", "OBLICUA", "SCHRAG", "斜位"), Side.OBLIQUE),
}  # fmt: skip

_ABBREVIATIONS: Final = re.compile(r"\b([PA])[\s./-]{1,2}([PA])\b\.?")
_COMPOUNDS: Final = re.compile(r"\b(POSTERO|ANTERO|LATERO|DORSO|VENTRO)[\s-]+(?=[A-Z])")
_DESCRIPTIONS: Final = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")


def opinions(header: Dataset) -> list[Opinion]:
    """All that the header says about the projection, the most trusted first.

    Order: ViewPosition, ViewCodeSequence, PatientOrientation, then the descriptions of the series, the protocol and
    the processing (Fuji writes the view there). Descriptions of the study cover more than one image and do not count.
    An attribute that names two projections says nothing. Never raises.
    """
    return list(_opinions(header))


def _opinions(header: Dataset) -> Iterator[Opinion]:
    position = text(header, "ViewPosition")
    if side := _VIEW_POSITIONS.get(position.upper()) or side_in_text(position):
        term = position.upper() if position.upper() in _VIEW_POSITIONS else side.value
        yield Opinion(attribute="ViewPosition", term=term, side=side)
    for item in items(header, "ViewCodeSequence"):
        code = text(item, "CodeValue")
        if code in _VIEW_CODES:
            yield Opinion(attribute="ViewCodeSequence", term=code, side=_VIEW_CODES[code])
    orientation = [value[:1].upper() for value in texts(header, "PatientOrientation")]
    if side := _side_of_orientation(orientation):
        yield Opinion(attribute="PatientOrientation", term="\\".join(orientation), side=side)
    for keyword in _DESCRIPTIONS:
        if side := side_in_text(text(header, keyword)):
            yield Opinion(attribute=keyword, term=side.value, side=side)


def _side_of_orientation(directions: list[str]) -> Side | None:
    """Read the directions of a row and a column. Source: PS3.3 C.7.6.1.1.1."""
    axes = [
        next((axis for axis in ("LR", "AP", "HF") if direction and direction in axis), "") for direction in directions
    ]
    if len(axes) != 2 or "HF" not in axes:
        return None
    return {"LR": Side.FRONTAL, "AP": Side.LATERAL}.get(axes[0] if axes[1] == "HF" else axes[1])


def side_in_text(description: str) -> Side | None:
    """The one projection that a text names, in any of the known languages; None if it names none, or several."""
    content = _COMPOUNDS.sub(r"\1", _ABBREVIATIONS.sub(r" \1\2 ", plain(description)))
    tokens = words(content)
    if "DECUBITUS" in content and "LATERAL" in content:
        return Side.OBLIQUE
    sides = {_SIDE_OF_WORD[token] for token in tokens if token in _SIDE_OF_WORD}
    # Chinese and Japanese put no blanks between words.
    sides |= {side for word, side in _SIDE_OF_WORD.items() if not word.isascii() and word in content}
    if Side.OBLIQUE in sides:
        return Side.OBLIQUE
    if sides == {Side.PA, Side.AP} or sides == {Side.PA, Side.AP, Side.FRONTAL}:
        return Side.FRONTAL
    if len(sides) == 2 and Side.FRONTAL in sides and Side.LATERAL not in sides:
        sides.discard(Side.FRONTAL)
    return sides.pop() if len(sides) == 1 else None
