"""The equipment that made a result: what the node says about itself in every object. PS3.3 C.7.5.1 and C.12.1."""

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


def software_versions(model: ModelIdentity) -> list[str]:
    """Version of the node and of the networks, each with its name; LO, at most 64 characters."""
    return [f"{MANUFACTURER} {__version__}", f"{model.name} {model.version}"]


def serial_number(model: ModelIdentity) -> str:
    """Software has no serial number; the digest of its networks tells one build from another."""
    return model.digest[:16]


def device_uid(model: ModelIdentity) -> UID:
    """UID of this node version with these networks."""
    return derive_device_uid(__version__, model.digest)


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


def sign(result: Dataset, source: Dataset, model: ModelIdentity) -> None:
    """Write the general equipment of `result`, and into ContributingEquipmentSequence who acquired and who processed.

    source: the carried-over header (`origin.carry_over`).
    The node knows its own results by the item with `NODE_MODEL_NAME` (109102, Processing Equipment).
    """
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, NODE_MODEL_NAME
    result.SoftwareVersions = software_versions(model)
    result.DeviceSerialNumber = serial_number(model)
    result.DeviceUID = device_uid(model)
    result.ContributingEquipmentSequence = [*_acquisition(source), _processing(model)]


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


def _processing(model: ModelIdentity) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(concepts.PROCESSING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, NODE_MODEL_NAME
    item.SoftwareVersions = software_versions(model)
    item.DeviceSerialNumber = serial_number(model)
    item.ContributionDescription = f"Read by {model.name} {model.version}. {DISCLAIMER}"
    return item
