"""How one attempt at a step of the journey ended."""

from enum import StrEnum


class Outcome(StrEnum):
    """Of reading a radiograph."""

    READ = "read"
    """The ledger has the reading, and the results lie on disk."""

    FAILED = "failed"
    """It can never be read; the ledger has the reason."""

    NOT_READ = "not read"
    """Its pixels show that it is not to be read; the ledger has the reason."""

    LATER = "later"
    """The machine was in trouble, not the radiograph; another attempt follows."""


class Returned(StrEnum):
    """Of returning the results of a journey to one destination."""

    CLOSED = "closed"
    """Nothing is left to do: each object is delivered or set aside, or another run of visits looks after it."""

    LATER = "later"
    """The destination refused, or went away in the middle; another visit follows."""

    AWAITED = "awaited"
    """The destination has been asked for storage commitment; another visit follows if its report does not come."""

    PARKED = "parked"
    """The circuit of the destination is open; the visit that closes it sends out all that are parked."""
