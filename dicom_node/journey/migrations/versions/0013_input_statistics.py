"""what went into the networks, in a few numbers

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("readings", sa.Column("statistics", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("readings", "statistics")
