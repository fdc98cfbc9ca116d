"""What every command gets from the options before its name."""

from pathlib import Path

import typer

from dicom_node.settings import Settings, load_settings


def settings_of(ctx: typer.Context) -> Settings:
    """The node's settings, read when a command first needs them; raises ConfigurationError."""
    file = ctx.find_root().obj
    return load_settings(file if isinstance(file, Path) else None)
