"""What makes a radiograph STAT, and that the real queue gives it out first."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.errors import ConfigurationError
from dicom_node.journey.database import prepare
from dicom_node.journey.queue import JourneyQueue, journey_of
from dicom_node.journey.runs import READ_WORKFLOW, READING_QUEUE, RETURN_QUEUE, RETURN_WORKFLOW, return_options
from dicom_node.journey.urgency import Urgency
from dicom_node.reception.urgency import Haste, haste
from dicom_node.settings import Settings, load_settings
from tests.unit.test_journey_queue import CHEST
from tests.working import listed

MEDIUM, HIGH, LOW = 0, 1, 2


def header(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def ask(dataset: Dataset, *, calling_ae: str = "CR1", priority: int | None = MEDIUM, **settings: Any) -> Haste:
    return haste(dataset, calling_ae=calling_ae, priority=priority, settings=Settings(**settings))


@pytest.mark.parametrize("priority", [MEDIUM, LOW, None, 77])
def test_an_ordinary_object_is_routine(priority: int | None) -> None:
    assert ask(header(RequestedProcedurePriority="ROUTINE"), priority=priority) == Haste()


def test_senders_of_the_list_are_stat() -> None:
    assert ask(header(), calling_ae="ER_CR", stat_aes=("ER_CR",)) == Haste(
        urgency=Urgency.STAT, evidence="calling AE title"
    )
    assert ask(header(), calling_ae="WARD", stat_aes=("ER_CR",)) == Haste()


def test_a_c_store_of_high_priority_is_stat_unless_that_is_off() -> None:
    assert ask(header(), priority=HIGH).evidence == "priority of the C-STORE request"
    assert ask(header(), priority=HIGH, stat_by_priority=False) == Haste()


@pytest.mark.parametrize("value", ["STAT", "stat", "HIGH", "Stat please"])
@pytest.mark.parametrize("keyword", ["RequestedProcedurePriority", "StudyPriorityID"])
def test_words_of_urgency_in_the_header_are_stat(keyword: str, value: str) -> None:
    assert ask(header(**{keyword: value})) == Haste(urgency=Urgency.STAT, evidence=keyword)


def test_the_priority_of_a_scheduled_request_is_found_in_its_item() -> None:
    request = header(RequestedProcedurePriority="STAT")
    assert ask(header(RequestAttributesSequence=[request])).urgency is Urgency.STAT


def test_attributes_and_words_are_settable() -> None:
    settings: dict[str, Any] = {"stat_attributes": ("StudyDescription",), "stat_words": ("Notfall",)}
    assert ask(header(StudyDescription="Thorax NOTFALL"), **settings).evidence == "StudyDescription"
    assert ask(header(StudyDescription="Thorax Notfallambulanz"), **settings) == Haste()
    assert ask(header(RequestedProcedurePriority="STAT"), **settings) == Haste()


def test_a_keyword_that_dicom_does_not_know_is_a_wrong_setting(tmp_path: Path) -> None:
    file = tmp_path / "covid-xnet.toml"
    file.write_text('stat_attributes = ["Urgency"]')
    with pytest.raises(ConfigurationError, match="'Urgency' is not the keyword"):
        load_settings(file, {})


def test_no_value_of_the_header_is_quoted_and_none_can_break_it() -> None:
    odd = header(StudyPriorityID="STAT MUSTERMANN")
    assert "MUSTERMANN" not in str(ask(odd))
    odd[0x00400275] = RawDataElement(Tag(0x00400275), "SQ", 9, b"\xff" * 9, 0, False, True)
    assert ask(odd).urgency is Urgency.STAT


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    return settings


def wait_for(ran: list[str], number: int) -> None:
    deadline = time.monotonic() + 60
    while len(ran) < number:
        assert time.monotonic() < deadline, ran
        time.sleep(0.05)


def test_a_stat_radiograph_is_read_before_the_routine_ones_that_wait(settings: Settings) -> None:
    queue = JourneyQueue(settings)
    for number in range(4):
        queue.record(replace(CHEST, sop_instance_uid=f"1.{number}", digest=str(number)))
    queue.record(replace(CHEST, sop_instance_uid="1.9", digest="9", urgency=Urgency.STAT))
    queue.close()

    with listed(settings, READING_QUEUE, READ_WORKFLOW) as ran:
        wait_for(ran, 5)

    assert ran == [journey_of(f"1.{number}") for number in (9, 0, 1, 2, 3)]


def test_the_results_of_a_stat_radiograph_go_first_to_each_destination(settings: Settings) -> None:
    queue = JourneyQueue(settings)
    with queue.engine.begin() as connection:
        for priority in (500, 400, 300, 1, 200):
            for destination in ("A@h:1", "B@h:1"):
                name = f"{priority} {destination}"
                options = return_options(name, destination, 1, priority=priority)
                queue._client.enqueue_in_transaction(connection, options, name, destination, 1, priority)
    queue.close()

    with listed(settings, RETURN_QUEUE, RETURN_WORKFLOW) as ran:
        wait_for(ran, 10)

    # Four at once to each, and so the last place is the only one that is certain.
    for destination in ("A@h:1", "B@h:1"):
        to_this = [name for name in ran if name.endswith(destination)]
        assert to_this[-1].startswith("500 ")
        assert any(name.startswith("1 ") for name in to_this[:4])
