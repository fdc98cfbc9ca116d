"""The two processes that work on journeys."""

from typing import TYPE_CHECKING

from dicom_node.changes import LOOK_SECONDS, Changes
from dicom_node.errors import ConfigurationError
from dicom_node.journey.database import open_engine
from dicom_node.journey.engine import wait_for_the_end, working_on
from dicom_node.journey.runs import READING_QUEUE, RETURN_QUEUE
from dicom_node.journey.site import at_this_site, commissioning_file
from dicom_node.logs import log
from dicom_node.settings import Settings

if TYPE_CHECKING:  # the returner carries no networks
    from pipeline.flow import Networks


def read_journeys(settings: Settings, name: str) -> None:
    """Be a worker: read radiographs until SIGTERM.

    Raises ConfigurationError if the weights are not those of the manifest.
    """
    import cv2

    from dicom_node.journey.bounds import Bounds
    from dicom_node.journey.reader import Reader
    from dicom_node.journey.side_by_side import SecondReader, second_networks
    from dicom_node.journey.workflow import register_reading
    from models.registry import WeightsMismatch
    from pipeline.flow import load_networks

    cv2.setNumThreads(1)

    def take_up(changed: Settings) -> None:
        reader.take_up(changed, _at_this_site(home, changed))

    changes = Changes(settings, take_up, others=[commissioning_file(settings)])
    try:
        home = load_networks(settings.effective_weights_dir)
    except WeightsMismatch as e:
        raise ConfigurationError(f"{e}.", hint="Set weights_dir, or install the node again.") from e
    networks = _at_this_site(home, settings)
    engine = open_engine(settings)
    bounds = Bounds(
        settings.data_dir / f"{name}.reading",
        megabytes=settings.maximum_worker_megabytes,
        seconds=settings.maximum_reading_seconds,
    )
    reader = Reader(settings, engine, networks, bounds)
    other = second_networks(settings)
    second = None
    if other is not None:
        second = SecondReader(settings, engine, other, bounds)
        log.info("reading side by side", model=str(other.model), digest=other.model.digest)
    register_reading(reader, second, retry_seconds=settings.retry_seconds)
    with working_on(READING_QUEUE, name=name, settings=settings, engine=engine, first=reader.heed_last_words), changes:
        wait_for_the_end()


def _at_this_site(home: "Networks", settings: Settings) -> "Networks":
    """The networks as they came, at the operating point of this site; the log tells which that is."""
    networks, ignored = at_this_site(home, settings)
    if ignored:
        log.warning("commissioning ignored", reason=ignored)
    elif networks.commissioning is not None:
        found = networks.commissioning
        log.info("commissioned", model=str(networks.model), at=found.at, digest=found.digest)
    else:
        log.info("not commissioned", model=str(networks.model))
    return networks


def return_journeys(settings: Settings, name: str) -> None:
    """Be the returner: give results to the destinations until SIGTERM."""
    from dicom_node.journey.desk import ReturnDesk
    from dicom_node.journey.queue import JourneyQueue
    from dicom_node.journey.retention import Retention, keep_in_background
    from dicom_node.journey.workflow import LONGEST_WAIT, register_returns
    from dicom_node.tls import client_context

    if any(destination.tls for destination in settings.destinations):
        client_context(settings.tls)  # now, and not when the first result is on its way

    queue = JourneyQueue(settings)
    desk = ReturnDesk(settings, queue)
    register_returns(
        desk,
        retry_seconds=settings.retry_seconds,
        commitment_timeout=settings.commitment_timeout,
    )
    longest_wait = max(LONGEST_WAIT, settings.commitment_timeout)
    # Sooner than the workers, so that it knows a new destination before there are results for it.
    changes = Changes(settings, desk.take_up, every=LOOK_SECONDS / 4)
    with (
        working_on(RETURN_QUEUE, name=name, settings=settings, engine=queue.engine, longest_wait=longest_wait),
        changes,
    ):
        # Beside the returns, which leave it time: they wait for peers.
        keep_in_background(Retention(settings, queue.engine))
        wait_for_the_end()
    desk.close()
