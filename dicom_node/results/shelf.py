"""Where composed results wait on disk until every destination has them."""

from pathlib import Path


class ResultShelf:
    """One folder per journey, one file per result: destinations may get the same kind in different forms."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, journey: str) -> Path:
        """Where all results of `journey` lie, or would lie."""
        return self._root / journey[:2] / journey

    def sweep(self, journey: str) -> None:
        """Remove what attempts that died were writing; only by who is about to write the results of `journey`."""
        for part in self.folder(journey).glob(".*.part"):
            part.unlink(missing_ok=True)

    def path(self, journey: str, kind: str, sop_instance_uid: str) -> Path:
        """File of a result of `journey`; its folder may not exist yet. kind: such as "overlay", for who looks."""
        return self.folder(journey) / f"{kind}-{sop_instance_uid}.dcm"
