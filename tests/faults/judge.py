"""After a storm: what was acknowledged, and what of it is where it should be."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from tests.faults.ward import Ward
from tests.peers.pacs import ONE_OF_EACH, results_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All lists are empty if the node kept its promise. They name radiographs by their SOP Instance UID, or files."""

    acknowledged: int
    lost: list[str]
    """Acknowledged, and without one overlay and one report at the PACS."""
    doubled: list[str]
    """With more than one result of a kind."""
    orphans: list[str]
    """Files in the spool that no row of the ledger knows, or that are still being received by nobody."""
    differences: list[str]
    """What `covid-xnet verify` finds."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.orphans or self.differences)


def judge(ward: Ward, acknowledged: Collection[str]) -> Verdict:
    """Compare what a modality was told with what the PACS has, from outside, and ask the node what it says itself.

    The node must run and have nothing to do.
    """
    got = results_of(ward.pacs.objects())
    return Verdict(
        acknowledged=len(acknowledged),
        lost=sorted(uid for uid in acknowledged if ONE_OF_EACH - got.get(uid, Counter())),
        doubled=sorted(uid for uid, counted in got.items() if counted - ONE_OF_EACH),
        orphans=_orphans(ward),
        differences=differences(ward),
    )


def differences(ward: Ward) -> list[str]:
    """What `covid-xnet verify` finds."""
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node", "verify", "--digests", "--json"],
        env=ward.node.environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        return [f"verify failed: {done.stderr}"]
    said = json.loads(done.stdout)
    unasked = [d["unasked"] for d in said["destinations"] if d["unasked"]]
    return [f"{d['kind']}: {d['subject']} {d['detail']}" for d in said["differences"]] + unasked


def _orphans(ward: Ward) -> list[str]:
    data = ward.database.parent
    with sqlite3.connect(ward.database) as database:
        known = {digest for (digest,) in database.execute("SELECT digest FROM received")}
    files = [path for path in (data / "spool").rglob("*") if path.is_file() and path.stem not in known]
    return sorted(str(path.relative_to(data)) for path in files)


def settled(ward: Ward) -> bool:
    """Whether the node has nothing left to do."""
    counts = json.loads(ward.node.command("status", "--json", "--limit", "1"))["counts"]
    return not (counts["waiting to be read"] or counts["waiting to be returned"])
