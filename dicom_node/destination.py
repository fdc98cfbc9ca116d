"""What a destination gets, in which form, and what closes a return to it."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from dicom_node.peers import Peer


class ResultKind(StrEnum):
    """What can go back to a destination."""

    OVERLAY = "overlay"
    """Secondary Capture: the radiograph with the heat map, and captions."""

    REPORT = "report"
    """Structured report, TID 1500."""

    SEGMENTATION = "segmentation"
    """The lungs, as a Segmentation on the radiograph."""

    PRESENTATION_STATE = "presentation-state"
    """The outlines of the report, as graphics that a viewer draws on the radiograph itself."""

    KEY_OBJECT = "key-object"
    """Key Object Selection, of positive readings only."""


class OverlayLayout(StrEnum):
    """What the overlay shows."""

    OVERLAY = "overlay"
    SIDE_BY_SIDE = "side-by-side"


class OverlaySize(StrEnum):
    """How large the radiograph in the overlay is."""

    FULL = "full"
    SMALL = "1024"


class ReportClass(StrEnum):
    """SOP class of the report."""

    COMPREHENSIVE_3D = "comprehensive-3d"
    COMPREHENSIVE = "comprehensive"


class Compression(StrEnum):
    """Lossless encodings of an overlay on the wire."""

    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"
    RLE = "rle"


class TextEncoding(StrEnum):
    """Character set of the results."""

    UTF_8 = "utf-8"
    SOURCE = "source"


class Commitment(StrEnum):
    """What closes a return."""

    AUTO = "auto"
    """The strongest proof that the destination offers: storage commitment, else C-FIND, else its C-STORE status."""

    REQUIRED = "required"
    """Storage commitment and nothing else."""

    OFF = "off"
    """Its C-STORE status."""


class ResultChoice(BaseModel):
    """Which objects a reading brings, and in which form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: tuple[ResultKind, ...] = Field(
        default=(ResultKind.OVERLAY, ResultKind.REPORT),
        min_length=1,
        description='What it gets: some of "overlay", "report", "segmentation", "presentation-state", "key-object".',
    )
    overlay_layout: OverlayLayout = Field(
        default=OverlayLayout.OVERLAY,
        description='"overlay", or "side-by-side": the radiograph as it is, and the overlay right of it.',
    )
    overlay_size: Annotated[OverlaySize, BeforeValidator(str)] = Field(
        default=OverlaySize.FULL,
        description='"full": that of the radiograph, or "1024": pixels along the longer side of the radiograph.',
    )
    report_class: ReportClass = Field(
        default=ReportClass.COMPREHENSIVE_3D, description='"comprehensive-3d", or "comprehensive" for an older PACS.'
    )
    character_set: TextEncoding = Field(
        default=TextEncoding.UTF_8, description='"utf-8", or "source": that of the radiograph.'
    )

    @field_validator("objects")
    @classmethod
    def _in_order(cls, objects: tuple[ResultKind, ...]) -> tuple[ResultKind, ...]:
        if len(set(objects)) != len(objects):
            raise ValueError("names an object twice")
        return tuple(kind for kind in ResultKind if kind in objects)


BY_DEFAULT: Final = ResultChoice()
"""Overlay and report, in their plainest form."""


def _peer_or_none(text: object) -> Peer | None:
    return Peer.parse(text) if text else None


class Destination(ResultChoice):
    """A peer that gets results, and what it gets: `AET@host:port`, or a table of `peer` and what differs."""

    peer: Annotated[Peer, BeforeValidator(Peer.parse)] = Field(description="AET@host:port.")
    commitment: Commitment = Field(
        default=Commitment.AUTO,
        description='What closes a return: "auto": storage commitment, else C-FIND, else the C-STORE status, whichever '
        'is the strongest that the destination offers; "required": storage commitment alone; "off": C-STORE status.',
    )
    commitment_peer: Annotated[Peer | None, BeforeValidator(_peer_or_none)] = Field(
        default=None,
        description="AET@host:port of who is asked for storage commitment in its place, and reports: many archives "
        "have another AE title or port for that.",
    )
    tls: bool = Field(default=False, description="Whether associations with it are encrypted.")
    overlay_compression: tuple[Compression, ...] = Field(
        default=(),
        description='Lossless encodings that the overlay is offered in, the best first: some of "jpeg-ls", '
        '"jpeg-2000", "rle". Empty, or none of them taken: uncompressed.',
    )

    @property
    def choice(self) -> ResultChoice:
        """What it gets; equal for destinations that get the same objects, whatever they are encoded in."""
        return ResultChoice.model_validate(self.model_dump(include=set(ResultChoice.model_fields)))

    @property
    def plain(self) -> str | dict[str, Any]:
        """As it is written in a configuration."""
        differs = self.model_dump(mode="json", exclude={"peer", "commitment_peer"}, exclude_defaults=True)
        if self.commitment_peer:
            differs["commitment_peer"] = str(self.commitment_peer)
        return {"peer": str(self.peer), **differs} if differs else str(self.peer)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """All who may call the node for it."""
        return (self.peer, self.commitment_peer) if self.commitment_peer else (self.peer,)
