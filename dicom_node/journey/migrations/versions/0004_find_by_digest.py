"""find a received object by its digest

Revision: 0004, after 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_received_digest", "received", ["digest"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_received_digest", "received")
