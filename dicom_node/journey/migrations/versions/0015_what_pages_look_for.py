"""indexes for what the pages look for

Revision: 0015, after 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_received_accepted": ("received", ["accepted", "journey"]),
    "ix_received_calling_ae": ("received", ["calling_ae", "received_at"]),
    "ix_readings_verdict": ("readings", ["verdict", "read_at"]),
    "ix_returns_changed_at": ("returns", ["changed_at"]),
    "ix_returns_destination": ("returns", ["destination", "state"]),
    "ix_returns_state_changed_at": ("returns", ["state", "changed_at"]),
}


def upgrade() -> None:
    """Make them; the one of the state alone is part of another now."""
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)
    op.drop_index("ix_returns_state", "returns")


def downgrade() -> None:
    """Drop them."""
    op.create_index("ix_returns_state", "returns", ["state"])
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
