"""What holds for all tests: none leaves an environment to the next."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """The command line sets COVIDXNET_CONFIG for the processes that it starts, and tests run it in their own."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
