"""Who may enter, who is rejected with which reason, and who makes room."""

from dataclasses import dataclass
from typing import Any

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.peers import Caller
from dicom_node.reception.admission import Admission, Rejection, Request, plain_address
from dicom_node.settings import Settings, load_settings


@dataclass
class Someone:
    address: str = "10.0.0.9"
    known: bool = False
    idle: float = 0.0


def admission(*destinations: str, **settings: Any) -> Admission:
    return Admission(Settings(**settings), addresses_of_destinations=frozenset(destinations))


def call(calling: str = "CT1", *, called: str = "COVIDXNET", address: str = "10.1.2.3") -> Request:
    return Request(called_ae=called, calling_ae=calling, address=address)


def test_without_a_list_everybody_enters_who_calls_the_node_by_its_name() -> None:
    assert admission().judge(call("ANYONE")) is None
    assert admission().judge(call("ANYONE", called="OTHER")) is Rejection.CALLED_AE
    assert admission().judge(call("")) is None
    assert admission().judge(call(called="")) is Rejection.CALLED_AE


@pytest.mark.parametrize(
    ("calling", "address", "enters"),
    [
        ("CT1", "10.1.2.3", True),
        ("CT1", "10.1.2.4", False),
        ("CT2", "10.1.7.200", True),
        ("CT2", "10.2.0.1", False),
        ("CT3", "192.0.2.1", True),
        ("CT4", "10.1.2.3", False),
        ("CT6", "fe80::1", True),
    ],
)
def test_a_title_on_the_list_enters_from_the_address_it_is_bound_to(calling: str, address: str, enters: bool) -> None:
    door = admission(calling_aes=("CT1@10.1.2.3", "CT2@10.1.0.0/16", "CT3", "CT6@fe80::/10"))
    assert door.judge(call(calling, address=address)) is (None if enters else Rejection.CALLING_AE)


def test_a_destination_may_call_to_report_but_not_from_elsewhere_if_the_list_binds_it() -> None:
    settings: dict[str, Any] = {"destinations": ["PACS@10.9.9.9:104"]}
    open_list = admission(calling_aes=("CT1",), **settings)
    assert open_list.judge(call("PACS", address="10.7.7.7")) is None
    bound = admission(calling_aes=("CT1", "PACS@10.9.9.9"), **settings)
    assert bound.judge(call("PACS", address="10.7.7.7")) is Rejection.CALLING_AE


def test_one_title_may_be_bound_to_several_addresses() -> None:
    door = admission(calling_aes=("CT1@10.0.0.1", "CT1@10.0.0.2"))
    answers = [door.judge(call(address=f"10.0.0.{number}")) for number in (1, 2, 3)]
    assert answers == [None, None, Rejection.CALLING_AE]


@pytest.mark.parametrize(
    "text", ["CT1@", "CT1@pacs.example", "@10.1.2.3", "CT1@10.1.2.3/33", "TOO_LONG_A_TITLE_@10.1.2.3"]
)
def test_a_caller_that_is_no_title_at_an_address_is_a_wrong_setting(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXNET_CALLING_AES", text)
    with pytest.raises(ConfigurationError, match="CALLING_AES"):
        load_settings()
    with pytest.raises(ValueError, match="not"):
        Caller.parse(text)


def test_the_numbers_of_a_rejection_are_those_of_the_standard() -> None:
    # PS3.8 table 9-21: permanent by the user, or transient by the presentation provider.
    assert {why.name: why.value for why in Rejection} == {
        "CALLING_AE": (1, 1, 3),
        "CALLED_AE": (1, 1, 7),
        "LOCAL_LIMIT": (2, 3, 2),
    }


def test_an_address_is_the_same_however_it_is_written() -> None:
    assert plain_address("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("::1") == "::1"


def test_places_are_kept_for_known_peers_once_there_are_any() -> None:
    limits: dict[str, Any] = {
        "maximum_associations": 10,
        "reserved_associations": 3,
        "maximum_associations_per_address": 10,
    }
    house = [Someone(address=f"10.0.0.{n}") for n in range(7)]
    assert admission(**limits).has_room(Someone(), house)
    door = admission("10.9.9.9", **limits)
    assert not door.has_room(Someone(), house)
    assert door.has_room(Someone(known=True), house)
    assert not door.has_room(Someone(known=True), house + house)
    assert door.has_room(Someone(), [Someone(known=True)] * 5)


def test_one_address_cannot_take_all_places_unless_it_is_known() -> None:
    door = admission(maximum_associations=10, maximum_associations_per_address=4)
    crowd = [Someone(address="10.0.0.1") for _ in range(4)]
    assert not door.has_room(Someone(address="10.0.0.1"), crowd)
    assert door.has_room(Someone(address="10.0.0.2"), crowd)
    assert door.has_room(Someone(address="10.0.0.1", known=True), crowd)


def test_peers_are_known_by_the_list_or_by_the_address_of_a_destination() -> None:
    door = admission("10.9.9.9", calling_aes=("CT1@10.1.2.3",))
    assert door.knows(call("CT1"))
    assert door.knows(call("OTHER", address="10.9.9.9"))
    assert not door.knows(call("CT1", address="10.1.2.4"))


def test_whoever_is_idle_longest_at_the_most_crowded_address_makes_room() -> None:
    door = admission(maximum_associations=4)
    busy, alone = Someone(), Someone(address="10.0.0.1", idle=100.0)
    crowd = [Someone(idle=5.0), Someone(idle=9.0)]
    assert door.who_makes_room(Someone(address="10.0.0.2"), [busy, alone, *crowd]) is crowd[1]


def test_nobody_at_work_makes_room_and_no_known_peer_for_a_stranger() -> None:
    door = admission(maximum_associations=2)
    known = Someone(known=True, idle=100.0)
    assert door.who_makes_room(Someone(), [Someone(), Someone(idle=0.5), known]) is None
    assert door.who_makes_room(Someone(known=True), [Someone(), known]) is known
    stranger = Someone(idle=2.0)
    assert door.who_makes_room(Someone(known=True), [stranger, known]) is stranger


def test_an_address_that_has_its_share_makes_room_for_itself_only() -> None:
    door = admission(maximum_associations=10, maximum_associations_per_address=2)
    other, own = Someone(address="10.0.0.1", idle=100.0), Someone(idle=2.0)
    assert door.who_makes_room(Someone(), [other, own, Someone()]) is own
