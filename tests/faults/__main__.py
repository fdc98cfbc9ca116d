"""`make faults`: storms with seeds, then each fault point in turn; writes what was found.

python -m tests.faults [--seeds 1 2 3] [--kills 60] [--no-points] [--markdown FILE] [--json FILE]
"""

import argparse
import logging
import sys
import tempfile
from functools import partial
from pathlib import Path

from dicom_node.faultpoints import Point
from tests.faults.report import as_json, as_markdown
from tests.faults.storm import each_point, storm
from tests.faults.trial import Trial, try_out


def main() -> int:
    """Exit code 1 if the node broke its promise once."""
    options = argparse.ArgumentParser(description="Kill the node, again and again, and see what is lost.")
    options.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5], help="one storm for each")
    options.add_argument("--kills", type=int, default=50, help="times that each storm strikes")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--no-points", action="store_true", help="leave out the fault points")
    options.add_argument("--markdown", type=Path)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    trials: list[Trial] = []

    def note(trial: Trial) -> None:
        trials.append(trial)
        print(trial.in_a_line, flush=True)
        if chosen.markdown:
            chosen.markdown.write_text(as_markdown(trials))
        if chosen.json:
            chosen.json.write_text(as_json(trials))

    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for seed in chosen.seeds:
            faults = partial(storm, seed=seed, kills=chosen.kills)
            note(try_out(Path(folder, f"storm-{seed}"), "storm", seed, faults, workers=chosen.workers))
        if not chosen.no_points:
            faults = partial(each_point, seed=0)
            note(
                try_out(Path(folder, "points"), "fault points", 0, faults, points=tuple(Point), workers=chosen.workers)
            )
    return 0 if all(trial.verdict.clean for trial in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
