"""urgency of what was received; by which UIDs results are known when they come back

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("received", sa.Column("urgency", sa.String(length=16), nullable=False, server_default="routine"))
    op.add_column("received", sa.Column("urgency_evidence", sa.String(), nullable=False, server_default=""))
    op.add_column("received", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("returns", sa.Column("series_instance_uid", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_returns_sop_instance_uid", "returns", ["sop_instance_uid"])
    op.create_index("ix_returns_series_instance_uid", "returns", ["series_instance_uid"])


def downgrade() -> None:
    """Drop the columns."""
    op.drop_index("ix_returns_series_instance_uid", "returns")
    op.drop_index("ix_returns_sop_instance_uid", "returns")
    op.drop_column("returns", "series_instance_uid")
    op.drop_column("received", "priority")
    op.drop_column("received", "urgency_evidence")
    op.drop_column("received", "urgency")
