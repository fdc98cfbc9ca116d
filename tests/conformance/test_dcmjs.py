"""Our report in the words of dcmjs, the JavaScript reader behind OHIF: the same numbers as the reading."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node import concepts
from dicom_node.destination import ReportClass, ResultChoice
from dicom_node.results.compose import compose, save
from dicom_node.results.regions import find_regions
from pipeline.radiograph import from_dicom
from pipeline.reading import Verdict
from tests.phantom import PATIENT_NAME, make_cr
from tests.readings import READ_AT, make_reading

READER = Path(__file__).parents[1] / "peers" / "dcmjs"
CODES = {
    Verdict.POSITIVE: concepts.POSITIVE.value,
    Verdict.NEGATIVE: concepts.NEGATIVE.value,
    Verdict.INDETERMINATE: concepts.INDETERMINATE.value,
}


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader with what its lock file names, installed beside it. A failure and not a skip if that cannot be had."""
    assert shutil.which("npm"), "npm is not installed: apt-get install npm"
    folder = shutil.copytree(READER, tmp_path_factory.mktemp("dcmjs") / "reader")
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "read_report.js"


def read(reader: Path, report: Path) -> dict[str, Any]:
    done = subprocess.run(["node", reader, report], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # dcmjs tells of its own doings on standard output, too.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("form", ReportClass)
@pytest.mark.parametrize("score", [0.9134, 0.0321, 0.4987], ids=["positive", "negative", "indeterminate"])
def test_dcmjs_reads_the_numbers_of_the_reading(reader: Path, form: ReportClass, score: float, tmp_path: Path) -> None:
    source = make_cr(orientation=("L", "F"))
    radiograph = from_dicom(source, maximum_pixels=10**6)
    reading = make_reading(radiograph.pixels.shape, score)
    results = compose(
        source, radiograph, reading, journey="dcmjs", view="PA", evidence="ViewPosition", flags=(), read_at=READ_AT,
        choice=ResultChoice(report_class=form),
    )  # fmt: skip
    save(results.structured_report, tmp_path / "report.dcm")

    found = read(reader, tmp_path / "report.dcm")

    assert found["patientName"] == [PATIENT_NAME]
    assert (found["root"], found["template"]) == ("126000", "1500")
    assert found["study"] == source.StudyInstanceUID
    assert f"{100 * score:.1f} %" in found["conclusion"]
    (measurement,) = [m for group in found["groups"] for m in group["measurements"]]
    assert (measurement["concept"], measurement["unit"]) == ("111012", "%")
    assert measurement["value"] == round(100 * score, 2)
    assert {reading.model.name, reading.model.version} <= set(measurement["algorithm"])
    assert [code for group in found["groups"] for code in group["interpretation"]] == [CODES[reading.verdict]]
    assert len({group["trackingUid"] for group in found["groups"]}) == len(found["groups"])

    outlines = find_regions(reading, rows=source.Rows, columns=source.Columns).outlines
    regions = [region for group in found["groups"] for region in group["regions"]]
    assert len(regions) == len(outlines) > 0
    for region, outline in zip(regions, outlines, strict=True):
        assert region["type"] == "POLYLINE"
        assert region["image"] == source.SOPInstanceUID
        np.testing.assert_allclose(np.reshape(region["points"], (-1, 2)), outline, rtol=1e-6)
