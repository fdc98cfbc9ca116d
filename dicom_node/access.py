"""Who may do what in the pages."""

from enum import StrEnum


class Role(StrEnum):
    """What a user of the pages may do. Each may also do what those before it may."""

    VIEWER = "viewer"
    """Look at everything; at who the patient is only if `web_identity_roles` says so."""

    OPERATOR = "operator"
    """Try again what was set aside, set aside what waits, call peers."""

    ADMIN = "admin"
    """All that changes the node itself."""

    def may(self, needed: "Role") -> bool:
        """Whether who has this role may do what needs `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
