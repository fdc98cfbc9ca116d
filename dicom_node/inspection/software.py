"""Whether the software is whole: schema of the database, networks, decoders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.inspection.health import Check
from dicom_node.journey.prepared import MIGRATIONS
from dicom_node.settings import Settings
from dicom_node.wire import TRANSFER_SYNTAXES

SAMPLES: Final = Path(__file__).with_name("samples")
"""One drawn image, no patient's, in each transfer syntax, by its keyword."""
_TOLERANCE: Final = 0.1
"""Of the grey scale: what a lossy encoding changes at the edges of the sample, at most."""
_PIXELS: Final = 64 * 64
_INSTALL_AGAIN: Final = "Install the node again from its lock file."


def schema_of(engine: sa.Engine) -> tuple[str, str]:
    """The revision of the ledger, "" if there is none, and the one that this version needs. Raises SQLAlchemyError."""
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    needed = ScriptDirectory.from_config(configuration).get_current_head() or ""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "", needed


def migrations(engine: sa.Engine) -> Check:
    """Whether the ledger has the schema of this version."""
    try:
        found, needed = schema_of(engine)
    except sa.exc.SQLAlchemyError as e:
        return Check(
            name="migrations", well=False, detail=f"cannot be read: {getattr(e, 'orig', e)}", remedy="See database."
        )
    if found == needed:
        return Check(name="migrations", well=True, detail=f"schema {found} is this version's")
    return Check(
        name="migrations",
        well=False,
        detail=f"schema {found or 'none'}, and this version needs {needed}",
        remedy="Start the node: it migrates by itself. If it says that a newer version made it, install that one.",
    )


def networks(settings: Settings) -> Check:
    """Whether every file of weights is the one of the manifest, and the site's commissioning fits them."""
    from dicom_node.journey.site import networks_here
    from models.registry import SHIPPED, Registry, WeightsMismatch

    try:
        registry = Registry.load(settings.effective_weights_dir or SHIPPED)
        for name in registry.entries:
            registry.verify(name)
        loaded, ignored = networks_here(settings)
    except WeightsMismatch as e:
        return Check(name="models", well=False, detail=f"{e}", remedy="Set weights_dir, or install the weights again.")
    if ignored:
        return Check(
            name="models",
            well=False,
            detail=f"the commissioning is ignored: {ignored}",
            remedy="Commission these networks with `covid-xnet commission`, or `covid-xnet commission undo`.",
        )
    files = sum(len(entry.files) for entry in registry.entries.values())
    commissioned = loaded.commissioning is not None
    return Check(
        name="models",
        well=True,
        detail=f"{files} files are those of the manifest; {loaded.model}"
        f"{'' if commissioned else ', not commissioned at this site'}",
        remedy="" if commissioned else "`covid-xnet commission` chooses the site's own threshold.",
    )


def decoders() -> Iterator[Check]:
    """Decode the sample of each transfer syntax, as a worker would; one line of those that do, one for each other."""
    import numpy as np

    from pipeline.errors import UnreadableRadiograph
    from pipeline.radiograph import from_dicom

    def pixels(syntax: UID) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return from_dicom(dcmread(SAMPLES / f"{syntax.keyword}.dcm"), maximum_pixels=_PIXELS).pixels

    well = 0
    expected = pixels(ExplicitVRLittleEndian)
    for syntax in TRANSFER_SYNTAXES:
        try:
            difference = float(np.abs(pixels(syntax) - expected).max())
        except (UnreadableRadiograph, OSError) as e:
            yield Check(name="decoder", well=False, detail=f"{syntax.name}: {e}", remedy=_INSTALL_AGAIN)
            continue
        if difference > _TOLERANCE:
            yield Check(
                name="decoder",
                well=False,
                detail=f"{syntax.name}: grey levels differ by up to {difference:.2f} of the scale",
                remedy=_INSTALL_AGAIN,
            )
        else:
            well += 1
    yield Check(name="decoders", well=well > 0, detail=f"{well} of {len(TRANSFER_SYNTAXES)} transfer syntaxes decode")
