"""How one attempt at a step of the journey ended."""

from enum import StrEnum


class Outcome(StrEnum):
    """Of reading a radiograph."""

    READ = "read"
    """The ledger has the reading, and the results lie on disk."""

    FAILED = "failed"
    """It can never be read; the ledger has the reason."""

    LATER = "later"
    """The machine was in trouble, not the radiograph; another attempt follows."""


class Returned(StrEnum):
    """Of returning the results of a journey to one destination."""

    CLOSED = "closed"
    """Nothing is left to do: each object is delivered or set aside."""

    LATER = "later"
    """The destination was not there or refused; another attempt follows."""
