"""The equipment that made a result: what the node says about itself in every object. PS3.3 C.7.5.1 and C.12.1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from dicom_node import __version__, concepts
from dicom_node.results.identity import derive_device_uid
from dicom_node.results.wording import DISCLAIMER
from dicom_node.wire import NODE_MODEL_NAME
from models.registry import ModelIdentity

MANUFACTURER: Final = "covid-xnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Who reads: an installation of the node with these networks.

    node: id of the installation, `ledger.node_id`; "" where networks read outside of one, as in `covid-xnet read`.
    """

    model: ModelIdentity
    node: str = ""

    @property
    def software_versions(self) -> list[str]:
        """Version of the node and of the networks, each with its name, and their digest; LO, at most 64 characters."""
        return [
            f"{MANUFACTURER} {__version__}",
            f"{self.model.name} {self.model.version}",
            f"networks {self.model.digest[:16]}",
        ]

    @property
    def serial_number(self) -> str:
        """Of the installation: two nodes with the same networks are two devices. Else the digest of the networks."""
        return (self.node or self.model.digest)[:16]

    @property
    def maker(self) -> str:
        """What the UIDs of its results derive from: one PACS may get results of two nodes with the same networks."""
        return self.node + self.model.digest

    @property
    def uid(self) -> UID:
        """DeviceUID, the same for all that one installation ever reads."""
        return derive_device_uid(self.node or f"{__version__} {self.model.digest}")


def coded(concept: Code) -> Dataset:
    """One item of a code sequence. PS3.3 table 8.8-1."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = concept.value, concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item


def reference_to(source: Dataset) -> Dataset:
    """The item of a SourceImageSequence that names `source`. PS3.3 table 10-3."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [coded(concepts.SOURCE_IMAGE)]
    return item


def sign(result: Dataset, source: Dataset, device: Device) -> None:
    """Write the general equipment of `result`, and into ContributingEquipmentSequence who acquired and who processed.

    source: the carried-over header (`origin.carry_over`).
    The node knows its own results by the item with `NODE_MODEL_NAME` (109102, Processing Equipment).
    """
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, NODE_MODEL_NAME
    result.SoftwareVersions = device.software_versions
    result.DeviceSerialNumber = device.serial_number
    result.DeviceUID = device.uid
    result.ContributingEquipmentSequence = [*_acquisition(source), _processing(device)]


def remarked(result: Dataset, remarks: Sequence[str]) -> Dataset:
    """Let `result`, which is signed, say `remarks` of what the node contributed; ST, at most 1024 characters."""
    ours = result.ContributingEquipmentSequence[-1]
    ours.ContributionDescription = f"{ours.ContributionDescription} Remarks: {'; '.join(remarks)}."[:1024]
    return result


def _acquisition(source: Dataset) -> list[Dataset]:
    # Manufacturer is type 1 in an item, so that a source without one cannot be named.
    if not source.get("Manufacturer"):
        return []
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(concepts.ACQUISITION_EQUIPMENT)]
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName"):
        if source.get(keyword):
            item[keyword] = source[keyword]
    return [item]


def _processing(device: Device) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(concepts.PROCESSING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, NODE_MODEL_NAME
    item.SoftwareVersions = device.software_versions
    item.DeviceSerialNumber = device.serial_number
    item.ContributionDescription = f"Read by {device.model.name} {device.model.version}. {DISCLAIMER}"
    return item
