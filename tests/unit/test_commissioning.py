"""The file that a site signs: what is written is read, and what does not fit is not used."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node.destination import ResultChoice, ResultKind, TextEncoding
from dicom_node.results import wording
from dicom_node.results.compose import compose
from models.registry import WeightsMismatch
from pipeline.commissioning import BadCommissioning, Commissioning
from pipeline.flow import Networks, load_networks, read
from pipeline.radiograph import Radiograph, from_dicom
from pipeline.reading import Verdict
from tests.phantom import chest_phantom, make_cr
from tests.readings import READ_AT


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_networks()


def commissioning(networks: Networks, **changes: Any) -> Commissioning:
    found = Commissioning(
        model=str(networks.model),
        model_digest=networks.model.digest,
        recipe_digest=networks.recipe.digest(),
        unlabelled=200,
        labelled=20,
        positives=10,
        curve=((0.1, 0.2), (0.9, 0.6)),
        threshold=0.95,
        band=(0.9, 0.98),
        sensitivity=0.85,
        source="ledger, from PACS",
        by="Dr. Žofia Example",
        at="2026-11-25T09:00:00+00:00",
    )
    return replace(found, **changes)


def test_what_is_saved_is_loaded_and_for_its_owner_alone(networks: Networks, tmp_path: Path) -> None:
    signed, file = commissioning(networks), tmp_path / "commissioning.json"
    signed.save(file)
    assert Commissioning.load(file) == signed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Žofia" in file.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["commissioning.json"]
    with pytest.raises(FileNotFoundError):
        Commissioning.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"band": [0.99, 1.0]}, "in order"),
        ({"threshold": "much"}, "must be numbers"),
        ({"curve": [[0.1, 0.5], [0.9, 0.4]]}, "must ascend"),
        ({"curve": []}, "must ascend"),
        ({"by": " "}, "nobody signed it"),
        ({"at": "yesterday"}, "cannot be read"),
        ({"band": None}, "cannot be read"),
        ({"more": 1}, "cannot be read"),
    ],
)
def test_a_file_that_was_changed_by_hand_is_refused_with_what_is_wrong(
    networks: Networks, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    file = tmp_path / "commissioning.json"
    commissioning(networks).save(file)
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(BadCommissioning, match=says):
        Commissioning.load(file)


def test_the_score_stays_and_verdict_and_probability_are_those_of_the_site(networks: Networks) -> None:
    radiograph = Radiograph(pixels=chest_phantom())
    before, after = (read(radiograph, each) for each in (networks, networks.commissioned(commissioning(networks))))
    assert before.score == after.score
    assert before.commissioning is None
    assert after.commissioning == commissioning(networks)
    assert after.verdict is Verdict.NEGATIVE
    assert (after.threshold, after.band) == (0.95, (0.9, 0.98))
    assert after.probability is not None
    assert 0.2 <= after.probability <= 0.6


@pytest.mark.parametrize("other", [{"model_digest": "0" * 64}, {"recipe_digest": "0" * 64}])
def test_the_commissioning_of_other_networks_is_not_used(networks: Networks, other: dict[str, str]) -> None:
    with pytest.raises(WeightsMismatch, match="was commissioned, and not the networks of COVID-XNet"):
        networks.commissioned(commissioning(networks, **other))


def test_scores_of_training_archives_become_probabilities_by_their_temperature(networks: Networks) -> None:
    def at(temperature: float | None) -> Networks:
        return replace(networks, operating_point=replace(networks.operating_point, temperature=temperature))

    assert at(None).probability(0.8) is None
    assert at(1.0).probability(0.8) == pytest.approx(0.8)
    assert at(2.0).probability(0.8) == pytest.approx(2 / 3)  # odds of 4 become 2


def test_every_kind_of_result_says_whether_by_whom_and_on_what_the_node_was_commissioned(networks: Networks) -> None:
    source = make_cr()
    radiograph = from_dicom(source, maximum_pixels=10**6)
    # Positive, so that there is a key object, too; and a name that the character set of the source does not hold.
    signed = commissioning(networks, threshold=0.0, band=(0.0, 0.0))
    choice = ResultChoice(objects=tuple(ResultKind), character_set=TextEncoding.SOURCE)
    made = {}
    for name, each in (("not", networks), ("yes", networks.commissioned(signed))):
        # The verdict of the model is made positive, too.
        each = replace(each, operating_point=replace(each.operating_point, threshold=0.0, band=(0.0, 0.0)))
        made[name] = compose(
            source, radiograph, read(radiograph, each),
            journey="j", view="PA", evidence="ViewPosition", flags=(), read_at=READ_AT, choice=choice,
        ).by_kind()  # fmt: skip
    assert made["not"].keys() == made["yes"].keys() == set(ResultKind)
    words = (
        "commissioned at this site on 2026-11-25 by Dr. Žofia Example, on 200 unlabelled and 20 labelled radiographs"
    )
    for kind in ResultKind:
        assert "not commissioned at this site" in str(made["not"][kind])
        told = made["yes"][kind].ContributingEquipmentSequence[-1].ContributionDescription
        assert words in told
        assert len(told) <= 1024
        assert "not commissioned" not in str(made["yes"][kind])
        assert made["yes"][kind].SpecificCharacterSet == "ISO_IR 192"
        assert made["yes"][kind].SOPInstanceUID != made["not"][kind].SOPInstanceUID
    for kind in (ResultKind.REPORT, ResultKind.KEY_OBJECT, ResultKind.PRESENTATION_STATE):
        assert json.dumps(made["yes"][kind].to_json_dict(), ensure_ascii=False, default=str).count("Žofia") > 1


@pytest.mark.parametrize(
    ("tells_apart", "says"),
    [
        (False, ("cannot tell COVID-19 from other pneumonia",)),
        (None, ("not shown to tell COVID-19 from other pneumonia",)),
        (True, ()),
    ],
)
def test_what_the_evaluation_found_stands_in_every_result(
    networks: Networks, tells_apart: bool | None, says: tuple[str, ...]
) -> None:
    point = replace(networks.operating_point, tells_apart=tells_apart)
    reading = read(Radiograph(pixels=chest_phantom()), replace(networks, operating_point=point))
    assert wording.limits(reading) == says
    assert set(says) <= set(wording.remarks(reading))
