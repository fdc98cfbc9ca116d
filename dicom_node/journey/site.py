"""The networks as this site uses them: at its own operating point, if it has commissioned them."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicom_node.settings import Settings

if TYPE_CHECKING:  # only who reads radiographs carries networks
    from pipeline.flow import Networks

_FILE: Final = "commissioning.json"


def commissioning_file(settings: Settings) -> Path:
    """Where the commissioning of this site lies, if there is one."""
    return settings.data_dir / _FILE


def networks_here(settings: Settings) -> tuple["Networks", str]:
    """The networks, with the commissioning of this site if it fits them; and why one that is there is ignored, or "".

    Raises WeightsMismatch if the weights are not those of the manifest.
    """
    from pipeline.flow import load_networks

    return at_this_site(load_networks(settings.effective_weights_dir), settings)


def at_this_site(networks: "Networks", settings: Settings) -> tuple["Networks", str]:
    """Like `networks_here`, of networks that are loaded, as they came."""
    from models.registry import WeightsMismatch
    from pipeline.commissioning import BadCommissioning, Commissioning

    try:
        return networks.commissioned(Commissioning.load(commissioning_file(settings))), ""
    except FileNotFoundError:
        return networks, ""
    except (BadCommissioning, WeightsMismatch) as e:
        return networks, str(e)
