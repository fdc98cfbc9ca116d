"""Where composed results wait on disk until every destination has them."""

from pathlib import Path


class ResultShelf:
    """One folder per journey, one file per kind of result."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, journey: str, kind: str) -> Path:
        """File of the result `kind` (such as "overlay") of `journey`; its folder may not exist yet."""
        return self._root / journey[:2] / journey / f"{kind}.dcm"
