"""What the fault suite found, for the handbook and for machines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Final

from dicom_node import __version__
from dicom_node.faultpoints import Point
from tests.faults.trial import Trial

_INTRODUCTION: Final = """\
Written by the fault suite (`make faults`). A modality sends radiographs to a node beside a PACS, and repeats each until
it is acknowledged, while processes of the node are killed with SIGKILL. Afterwards each acknowledged radiograph must
have one overlay and one report at the PACS, no file may lie in the spool that the ledger does not know, and
`covid-xnet verify --digests` must find no difference."""

_STORMS: Final = """\
A storm kills one or several processes at moments that its seed chooses; `run` is the supervisor, with which all of them
end. Replay one with `python -m tests.faults --seeds n`."""


def as_json(trials: Iterable[Trial]) -> str:
    return json.dumps([asdict(trial) for trial in trials], indent=2)


def as_markdown(trials: Sequence[Trial]) -> str:
    """The page of the handbook."""
    kills: Counter[str] = Counter()
    rss: Counter[str] = Counter()
    for trial in trials:
        kills.update(trial.kills)
        rss |= Counter(trial.peak_rss)
    starts = [seconds for trial in trials for seconds in trial.starts]
    deaths = kills.total() + sum(len(trial.points) for trial in trials)
    lines = [
        "# Faults",
        "",
        _INTRODUCTION,
        "",
        f"covid-xnet {__version__}, {trials[0].pacs}.",
        "",
        "| | |",
        "|---|---|",
        f"| radiographs acknowledged | {sum(trial.verdict.acknowledged for trial in trials)} |",
        f"| processes killed | {deaths} |",
        f"| acknowledged, without results at the PACS | {sum(len(trial.verdict.lost) for trial in trials)} |",
        f"| with a result twice, or with two | {sum(len(trial.verdict.doubled) for trial in trials)} |",
        f"| files in the spool that nobody knows | {sum(len(trial.verdict.orphans) for trial in trials)} |",
        f"| differences that `verify` finds | {sum(len(trial.verdict.differences) for trial in trials)} |",
        f"| start of a killed node until it answers, median of {len(starts)} | {median(starts):.1f} s |",
        *(f"| largest resident memory, {role} | {peak / 1e6:.0f} MB |" for role, peak in sorted(rss.items())),
        "",
        "## Trials",
        "",
        _STORMS,
        "",
        "| Trial | Seed | Radiographs | Killed | Lost | Doubled | Orphans | Differences | Seconds |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, trials),
        "",
        "## Fault points",
        "",
        "Places between two steps at which a process died, one after the other, while radiographs came in.",
        "",
        "| Point | Deaths |",
        "|---|---|",
        *(f"| {point} | {sum(trial.points.count(point) for trial in trials)} |" for point in Point),
        "",
    ]
    return "\n".join(lines)


def _row(trial: Trial) -> str:
    killed = ", ".join(f"{role} {count}" for role, count in sorted(trial.kills.items()))
    killed = killed if not trial.points else f"at {len(trial.points)} points; {killed}"
    v = trial.verdict
    return (
        f"| {trial.name} | {trial.seed} | {v.acknowledged} | {killed} | {len(v.lost)} | {len(v.doubled)} "
        f"| {len(v.orphans)} | {len(v.differences)} | {trial.seconds:.0f} |"
    )
