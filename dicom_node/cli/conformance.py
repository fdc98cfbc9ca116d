"""`covid-xnet conformance`: what the node claims to peers, in writing."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.errors import NodeError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("conformance")(conformance)


def conformance(
    as_html: Annotated[bool, typer.Option("--html", help="As HTML instead of Markdown.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this file.", dir_okay=False, show_default=False)
    ] = None,
) -> None:
    """Print the DICOM conformance statement (PS3.2) of this version.

    Examples: covid-xnet conformance
              covid-xnet conformance --html --out conformance.html
    """
    from dicom_node.conformance.html import to_html
    from dicom_node.conformance.markdown import to_markdown
    from dicom_node.conformance.statement import statement

    document = statement()
    text = to_html(document) if as_html else to_markdown(document)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as e:
        raise NodeError(f"{out} cannot be written: {e.strerror}.") from None
