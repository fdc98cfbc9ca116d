"""an id for the node itself

Revision: 0007, after 0006
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and draw the id."""
    node = op.create_table("node", sa.Column("id", sa.String(length=32), nullable=False), sa.PrimaryKeyConstraint("id"))
    op.bulk_insert(node, [{"id": uuid.uuid4().hex}])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("node")
