"""What every command gets from the options before its name."""

import os
from pathlib import Path

import typer

from dicom_node.settings import CONFIG_VARIABLE, Settings, load_settings


def settings_of(ctx: typer.Context) -> Settings:
    """The node's settings, read when a command first needs them; raises ConfigurationError."""
    file = ctx.find_root().obj
    if isinstance(file, Path):
        # For the processes that this command starts.
        os.environ[CONFIG_VARIABLE] = str(file.absolute())
    return load_settings()
