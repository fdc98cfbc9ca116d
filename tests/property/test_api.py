"""The API against what schemathesis makes of its own description: valid and invalid requests to every endpoint."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth

from dicom_node.access import Role
from tests.pages import Pages, pages
from tests.unit.test_api import guard_of
from tests.unit.test_pages import DESTINATION, add

EXAMPLES = 15
"""Of each endpoint, valid ones and as many invalid ones."""


@pytest.fixture(scope="module")
def shown() -> Iterator[Pages]:
    with tempfile.TemporaryDirectory() as folder, pages(Path(folder), destinations=(DESTINATION,)) as shown:
        for number in range(1, 4):
            add(shown, number)
        yield shown


def test_no_request_is_answered_with_a_server_error_or_against_the_description(shown: Pages) -> None:
    described = schemathesis.openapi.from_asgi("/api/openapi.json", shown.app)
    secret = guard_of(shown).tokens.add("fuzz", Role.ADMIN, days=1)
    asked: Counter[str] = Counter()
    for found in described.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            def ask(case: schemathesis.Case[Any]) -> None:
                answer = case.call(headers={"authorization": f"Bearer {secret}"})
                asked[f"{case.method} {case.path}"] += 1
                # The check repeats the request without a token for each answer; test_api.py does it once for each role.
                case.validate_response(answer, excluded_checks=[ignored_auth])

            with suppress(Unsatisfiable):  # of what takes nothing, nothing is invalid
                ask()
    assert len(asked) == 10
    assert sum(asked.values()) > 10 * EXAMPLES
