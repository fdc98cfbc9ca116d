"""What an operator may have done with one radiograph."""

from enum import StrEnum

from dicom_node.journey.ledger import ReceivedObject
from dicom_node.journey.queue import JourneyQueue
from dicom_node.settings import Settings


class Order(StrEnum):
    """What is to be done."""

    RETRY = "retry"
    """Offer its results that were set aside again."""

    READ_AGAIN = "read-again"
    """Read again what could not be read."""

    SET_ASIDE = "set-aside"
    """Set aside its results that wait."""


def carry_out(settings: Settings, order: Order, number: int) -> int:
    """Do it with the object of this number in the ledger; returns how many results or readings it was about.

    0 if another operator was faster. Raises NodeError, sa.exc.SQLAlchemyError.
    """
    only = ReceivedObject.id == number
    queue = JourneyQueue(settings)
    try:
        match order:
            case Order.RETRY:
                return queue.retry_returns(only=only)
            case Order.READ_AGAIN:
                return queue.retry_readings(only=only)
            case Order.SET_ASIDE:
                return queue.set_aside(only=only)
    finally:
        queue.close()
