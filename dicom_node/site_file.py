"""TOML files of settings: the one that people write, and the one in data_dir that `covid-xnet peers` writes."""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from dicom_node.errors import ConfigurationError

SITE_KEYS: Final = ("destinations", "calling_aes")
"""What the file in data_dir may hold. Each key in it takes the place of the same key in the file that people write."""

_NAME: Final = "site.toml"


def site_file(data_dir: Path) -> Path:
    """Where the peers lie that were added by command."""
    return data_dir / _NAME


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of settings; what its values mean is not looked at. Raises ConfigurationError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigurationError(f"{path}: cannot be read: {e.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigurationError(f"{path}: is not TOML: {e}.") from None


def read_site_file(data_dir: Path) -> dict[str, Any]:
    """What the file in `data_dir` holds; nothing if there is none. Raises ConfigurationError."""
    path = site_file(data_dir)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise ConfigurationError(
            f"{path}: cannot be looked for: {e.strerror}.", hint="Run the command as the account of the node."
        ) from None
    values = read_toml(path)
    for key in values:
        if key not in SITE_KEYS:
            raise ConfigurationError(
                f"{path}: {key} does not belong here.", hint=f"It holds {' and '.join(SITE_KEYS)} alone."
            )
    return values


def as_toml(value: object) -> str:
    """Write a setting as TOML: a string, number, boolean, list, or an inline table."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(inner) for inner in value) + "]"
    # Characters as they are: TOML has no pairs of escapes for those beyond the first 65,536.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
