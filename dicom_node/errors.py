"""What can go wrong in the node, and what it means for the journey of a radiograph.

    NodeError                     every error that the node raises on purpose
    ├── ConfigurationError        a setting is wrong; exit 2
    ├── NeverReadable             set aside at once: another try would end the same way
    │   ├── NotUnderstood         the data set cannot be parsed (C-STORE 0xC000)
    │   ├── DoesNotMatch          the data set contradicts itself or its SOP class (C-STORE 0xA900)
    │   ├── AlreadyRead           other content under its UID was read before (C-STORE 0x0111, if the settings say so)
    │   └── CannotCompose         no valid result object can be made from this source
    └── RetryLater                worth another try, later
        ├── OutOfResources        disk, database or spool cannot take it now (C-STORE 0xA700)
        │   └── DatabaseDamaged   the file of the database is no longer one; only a backup helps
        ├── PeerUnreachable       no association with the peer
        │   └── NoContextAccepted it is there, but takes nothing of what was proposed
        └── PeerRefused           the peer answered with a failure status

The class decides the journey's fate; `hint` names the remedy for the person who reads the message.
"""


class NodeError(Exception):
    """Base of every error that the node raises on purpose."""

    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class ConfigurationError(NodeError):
    """A setting is unknown or has a value that cannot be used."""


class NeverReadable(NodeError):
    """Another try would end the same way: record the reason and set the object aside."""


class NotUnderstood(NeverReadable):
    """The data set cannot be parsed. PS3.4 table B.2-1: 0xCxxx, Cannot understand."""


class DoesNotMatch(NeverReadable):
    """The data set contradicts itself or its SOP class. PS3.4 table B.2-1: 0xA9xx."""


class AlreadyRead(NeverReadable):
    """Other content under the same SOP Instance UID was read before. PS3.7 C.5.6: 0x0111, Duplicate SOP Instance."""


class CannotCompose(NeverReadable):
    """No valid result object can be made from this source."""


class RetryLater(NodeError):
    """Worth another try, later."""


class OutOfResources(RetryLater):
    """Disk, database or spool cannot take it now. PS3.4 table B.2-1: 0xA7xx, so that the sender keeps it."""

    hint = "Free disk space under DATA_DIR; the sender will try again."


class DatabaseDamaged(OutOfResources):
    """The file of the database cannot be trusted any more; peers keep what they send until another is there."""

    hint = "Stop the node, move data_dir aside, and put the last backup back with `covid-xnet restore`."


class PeerUnreachable(RetryLater):
    """No association with the peer, or it broke."""

    hint = "Check AE title, host and port, on both sides; `covid-xnet echo` tries the connection."


class NoContextAccepted(PeerUnreachable):
    """The peer is there, but takes none of the presentation contexts that were proposed."""

    hint = "Configure the peer to take these SOP classes from us."


class PeerRefused(RetryLater):
    """The peer answered a C-STORE with a failure status, or accepts no context for the object."""

    def __init__(self, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
