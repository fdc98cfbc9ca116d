import itertools
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.results.identity import derive_device_uid, derive_uid
from dicom_node.wire import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

JOURNEYS, DIGESTS, KINDS = ("a", "ab", "b"), ("5e" * 32, "bc", "c"), ("overlay", "overlay series", "report")


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40))
def test_a_derived_uid_is_valid_and_the_same_every_time(journey: str, digest: str, kind: str) -> None:
    uid = derive_uid(journey, digest, kind)
    assert uid.is_valid
    assert len(uid) <= 64
    assert uid.startswith("2.25.")
    assert uid == derive_uid(journey, digest, kind)


def test_every_difference_in_journey_model_or_kind_gives_another_uid() -> None:
    combinations = list(itertools.product(JOURNEYS, DIGESTS, KINDS))
    assert len({derive_uid(*parts) for parts in combinations}) == len(combinations)


def test_a_uid_does_not_change_between_processes_and_releases() -> None:
    # A literal: a change here would send every result of the past a second time.
    expected = "2.25.126831241793207226788985249596760276339"
    assert derive_uid("j1", "ab" * 32, "overlay") == expected
    code = "from dicom_node.results.identity import derive_uid; print(derive_uid('j1', 'ab' * 32, 'overlay'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        expected + "\n"
    )


def test_a_device_has_one_name_and_another_device_another() -> None:
    assert derive_device_uid("aa") == derive_device_uid("aa") != derive_device_uid("bb")


def test_the_implementation_is_named_within_the_limits() -> None:
    assert IMPLEMENTATION_CLASS_UID.is_valid
    assert 1 <= len(IMPLEMENTATION_VERSION_NAME) <= 16
