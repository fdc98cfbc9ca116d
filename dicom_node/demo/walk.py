"""The walk of the demonstration: send, wait, look into the PACS, judge whether everything came back."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset

from dicom_node.demo.node import RunningNode
from dicom_node.errors import NodeError
from dicom_node.wire import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, SECONDARY_CAPTURE

_SECONDS_AN_OBJECT: Final = 20.0
_SECONDS_AT_LEAST: Final = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    gate: the view, or why it is not read. score: [0, 1], with `label`; None if it was not read.
    overlays, reports: how many the PACS has of it. proof: how the node knows that it has them.
    previews: PNG files of the overlays.
    """

    file: Path
    accepted: bool
    gate: str
    score: float | None = None
    label: str = ""
    milliseconds: float | None = None
    failure: str = ""
    overlays: int = 0
    reports: int = 0
    proof: str = ""
    previews: list[Path] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """A radiograph that is read has one overlay and one report in the PACS; all else has a reason, and nothing."""
        if not self.accepted:
            return bool(self.gate) and self.overlays == self.reports == 0
        return self.overlays == self.reports == 1


def wait(node: RunningNode, objects: int, tick: Callable[[int], None]) -> dict[str, Any]:
    """Wait until nothing is on its way any more; returns the status of the node.

    tick: is told how many objects are done. Raises NodeError if the node dies or takes too long.
    """
    deadline = time.monotonic() + max(_SECONDS_AT_LEAST, _SECONDS_AN_OBJECT * objects)
    while time.monotonic() < deadline:
        if node.process.poll() is not None:
            raise NodeError("The node died.", hint=f"Its log says why: {node.log}")
        status = node.status()
        waiting = [found for found in status["objects"] if _is_on_its_way(found)]
        tick(objects - len(waiting))
        if not waiting:
            return status
        time.sleep(0.3)
    raise NodeError("The node does not come to an end.", hint=f"Its log may say why: {node.log}")


def _is_on_its_way(found: Mapping[str, Any]) -> bool:
    if not found["journey"] or (found["reading"] or {}).get("failure"):
        return False
    return not found["returns"] or any(r["state"] in ("waiting", "stored") for r in found["returns"])


def outcomes(
    sent: Mapping[Path, str], status: Mapping[str, Any], stored: Iterable[Dataset], previews: Path
) -> list[Outcome]:
    """Put together what the node and the PACS know of each file, and write the overlays of the PACS as PNG.

    sent: SOP Instance UID of each file. stored: what is in the PACS. previews: the folder of the PNG files.
    """
    # The row of the object that is read stands before those of other objects under the same UID.
    rows = {row["sop_instance_uid"]: row for row in sorted(status["objects"], key=lambda row: bool(row["journey"]))}
    refused = {row["sop_instance_uid"]: row["reason"] for row in status["rejected"]}
    results = _by_source(stored, set(sent.values()))
    found = []
    for number, (file, uid) in enumerate(sent.items(), start=1):
        row = rows.get(uid)
        if row is None:
            found.append(Outcome(file=file, accepted=False, gate=refused.get(uid, "")))
            continue
        reading = row["reading"] or {}
        counted = Counter(ds.SOPClassUID for ds in results.get(uid, []))
        overlays = [ds for ds in results.get(uid, []) if ds.SOPClassUID == SECONDARY_CAPTURE]
        found.append(
            Outcome(
                file=file,
                accepted=row["accepted"],
                gate=row["view"] if row["accepted"] else row["reason"],
                score=reading.get("score"),
                label=reading.get("verdict", ""),
                milliseconds=reading.get("milliseconds"),
                failure=reading.get("failure", ""),
                overlays=counted[SECONDARY_CAPTURE],
                reports=counted[COMPREHENSIVE_SR] + counted[COMPREHENSIVE_3D_SR],
                proof=", ".join(sorted({r["proof"] for r in row["returns"] if r["proof"]})),
                previews=[_preview(ds, previews / f"{number:02}-{file.stem}-overlay.png") for ds in overlays[:1]],
            )
        )
    return found


def _by_source(stored: Iterable[Dataset], sources: set[str]) -> dict[str, list[Dataset]]:
    results: dict[str, list[Dataset]] = {}
    for dataset in stored:
        for uid in _references(dataset) & sources:
            results.setdefault(uid, []).append(dataset)
    return results


def _references(dataset: Dataset) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


def _preview(overlay: Dataset, path: Path) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(overlay.pixel_array).save(path)
    return path


def all_complete(found: Sequence[Outcome], must_be_read: int) -> bool:
    """Whether each file came to its end, and at least `must_be_read` of them were read."""
    return all(outcome.complete for outcome in found) and sum(o.accepted for o in found) >= must_be_read
