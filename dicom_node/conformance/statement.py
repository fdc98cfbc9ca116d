"""The statement itself: which sections it has, and in which order. PS3.2."""

from dicom_node import __version__
from dicom_node.conformance.configuration import character_sets, configuration, security
from dicom_node.conformance.document import Document, Section
from dicom_node.conformance.networking import model, networking, overview
from dicom_node.conformance.objects import objects, private_attributes
from dicom_node.conformance.samples import make_samples
from dicom_node.conformance.terminology import coded, templates
from dicom_node.results.equipment import MANUFACTURER
from dicom_node.wire import NODE_MODEL_NAME


def statement() -> Document:
    """Write the conformance statement of this version of the node, with the settings at their defaults."""
    samples = make_samples()
    return Document(
        title=f"DICOM conformance statement of {NODE_MODEL_NAME} {__version__}",
        preface=(
            f"Manufacturer: {MANUFACTURER}. Product: {NODE_MODEL_NAME}, version {__version__}. Investigational, not "
            "for diagnosis.",
            "Written by `covid-xnet conformance` from the tables that the node uses, and from objects that it composes "
            "of drawn readings; a test fails when this text is older than the code. The structure follows PS3.2.",
        ),
        sections=(
            overview(samples),
            model(),
            networking(samples),
            configuration(),
            character_sets(),
            security(),
        ),
        annexes=(objects(samples), templates(samples), coded(samples), _private(private_attributes(samples))),
    )


def _private(found: tuple[str, ...]) -> Section:
    return Section(
        title="Extensions",
        content=(
            f"Private attributes in created objects: {', '.join(found) or 'none'}. No private SOP class, no private "
            "transfer syntax, no standard extended or specialised SOP class.",
        ),
    )
