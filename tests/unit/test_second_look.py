"""The second look: what becomes of an object that its header left open, for each answer of the pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from dicom_node.journey.second_look import look
from dicom_node.verdict import Accepted, Flag, Reason, Refused, View
from models.serving import Network
from pipeline.errors import BlankRadiograph
from pipeline.radiograph import Radiograph
from pipeline.view import ViewOpinion
from tests.phantom import chest_phantom

VIEW_OPEN = Accepted(view=View.UNKNOWN, evidence="", flags=(Flag.VIEW_UNKNOWN,))
PART_OPEN = Accepted(view=View.PA, evidence="ViewPosition=PA", flags=(Flag.BODY_PART_UNKNOWN,))
BOTH_OPEN = Accepted(view=View.UNKNOWN, evidence="", flags=(Flag.BODY_PART_UNKNOWN, Flag.VIEW_UNKNOWN))
TOLD = Accepted(view=View.AP, evidence="ViewPosition=AP", flags=(Flag.VIEW_CONTRADICTED,))

FRONTAL, LATERAL, NEITHER, UNSURE = (0.9, 0.1, 0.0), (0.02, 0.97, 0.01), (0.01, 0.01, 0.98), (0.4, 0.5, 0.1)

Judge = Callable[[tuple[float, float, float]], Network]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """A view judge with a known answer, really run by OpenVINO."""

    def drawn(answer: tuple[float, float, float]) -> Network:
        image = ops.parameter([1, 64, 64, 1], np.float32, name="image")
        model = openvino.Model([ops.constant(np.array([answer], np.float32))], [image], "view_judge")
        openvino.save_model(model, tmp_path / "view.xml", compress_to_fp16=False)
        return Network(tmp_path / "view.xml")

    return drawn


RADIOGRAPH = Radiograph(pixels=chest_phantom((96, 80)))


def test_an_object_whose_header_says_what_it_is_is_not_looked_at(judge: Judge) -> None:
    for answer in (FRONTAL, LATERAL, NEITHER, UNSURE):
        assert look(TOLD, RADIOGRAPH, judge(answer)) == TOLD


@pytest.mark.parametrize("accepted", [VIEW_OPEN, BOTH_OPEN])
def test_the_pixels_tell_a_frontal_view_where_no_attribute_did(judge: Judge, accepted: Accepted) -> None:
    seen = look(accepted, RADIOGRAPH, judge(FRONTAL))
    assert isinstance(seen, Accepted)
    assert (seen.view, seen.evidence) == (View.FRONTAL, "the pixels")
    assert seen.flags == tuple(flag for flag in accepted.flags if flag is not Flag.VIEW_UNKNOWN)


@pytest.mark.parametrize("accepted", [VIEW_OPEN, BOTH_OPEN])
def test_a_lateral_is_refused_where_no_attribute_names_the_view(judge: Judge, accepted: Accepted) -> None:
    refused = look(accepted, RADIOGRAPH, judge(LATERAL))
    assert refused == Refused(
        reason=Reason.LATERAL, detail="From the pixels: frontal 0.02, lateral 0.97, no chest 0.01."
    )


def test_a_header_that_names_a_frontal_view_wins_over_pixels_that_look_lateral(judge: Judge) -> None:
    seen = look(PART_OPEN, RADIOGRAPH, judge(LATERAL))
    assert isinstance(seen, Accepted)
    assert (seen.view, seen.evidence) == (PART_OPEN.view, PART_OPEN.evidence)
    assert seen.flags == (Flag.BODY_PART_UNKNOWN, Flag.UNLIKE_A_FRONTAL)
    assert look(PART_OPEN, RADIOGRAPH, judge(FRONTAL)) == PART_OPEN


@pytest.mark.parametrize("accepted", [VIEW_OPEN, PART_OPEN, BOTH_OPEN])
def test_what_is_no_chest_is_refused_where_the_header_left_anything_open(judge: Judge, accepted: Accepted) -> None:
    refused = look(accepted, RADIOGRAPH, judge(NEITHER))
    assert refused == Refused(
        reason=Reason.NOT_CHEST, detail="From the pixels: frontal 0.01, lateral 0.01, no chest 0.98."
    )


@pytest.mark.parametrize("accepted", [VIEW_OPEN, PART_OPEN, BOTH_OPEN])
def test_what_the_pixels_leave_open_is_read_with_a_flag(judge: Judge, accepted: Accepted) -> None:
    seen = look(accepted, RADIOGRAPH, judge(UNSURE))
    assert isinstance(seen, Accepted)
    assert (seen.view, seen.evidence) == (accepted.view, accepted.evidence)
    assert seen.flags == (*accepted.flags, Flag.UNLIKE_A_FRONTAL)


def test_pixels_of_one_grey_level_show_nothing(judge: Judge) -> None:
    with pytest.raises(BlankRadiograph):
        look(VIEW_OPEN, Radiograph(pixels=np.full((64, 64), 0.5, np.float32)), judge(FRONTAL))


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (FRONTAL, "frontal"), (LATERAL, "lateral"), (NEITHER, "neither"), (UNSURE, "unsure"),
        ((0.5, 0.5, 0.0), "frontal"), ((0.1, 0.9, 0.0), "lateral"), ((0.11, 0.89, 0.0), "unsure"),
        ((0.0, 0.5, 0.5), "unsure"), ((0.1, 0.0, 0.9), "neither"), ((1.0, 0.0, 0.0), "frontal"),
    ],
)  # fmt: skip
def test_only_a_sure_answer_counts_against_a_reading(answer: tuple[float, float, float], seen: str) -> None:
    frontal, lateral, neither = answer
    assert ViewOpinion(frontal=frontal, lateral=lateral, neither=neither).seen == seen
