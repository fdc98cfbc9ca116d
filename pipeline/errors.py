"""Why a radiograph cannot be read. Each message ends in the ledger as the reason, so it names no patient."""


class UnreadableRadiograph(Exception):
    """The pixels cannot be read; another try would end the same way."""


class UndecodablePixels(UnreadableRadiograph):
    """The pixel data is damaged, of an unsupported kind, or larger than the limit."""


class BlankRadiograph(UnreadableRadiograph):
    """All pixels have one grey level."""
