"""One log event per change of state, on standard error, as key=value or JSON; never a patient's identity."""

import logging
import sys
import warnings
from typing import Final

import structlog

from dicom_node.settings import LogFormat

log: Final[structlog.stdlib.BoundLogger] = structlog.stdlib.get_logger("covid-xnet")


class _WithoutQuotes(logging.Filter):
    """pynetdicom logs exceptions with a traceback, and their texts may quote what a peer sent: tell the kind alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("pynetdicom") and record.exc_info and record.exc_info[0]:
            record.msg, record.args, record.exc_info = record.exc_info[0].__name__, (), None
        return True


def set_up(log_format: LogFormat) -> None:
    """Send our events, and the errors of the libraries, through one formatter."""
    import pydicom.config  # only here: commands that say nothing start sooner without it

    # pydicom would quote each value that does not fit its VR, in warnings and in its log: maybe a patient's identity.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    for library in ("pydicom", "highdicom"):
        warnings.filterwarnings("ignore", module=library)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format is LogFormat.JSON
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_WithoutQuotes())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("covid-xnet").setLevel(logging.INFO)
    # DBOS adds a handler of its own unless its logger has one.
    durable = logging.getLogger("dbos")
    durable.handlers[:] = [handler]
    durable.propagate = False
