"""what second networks said

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "comparisons",
        sa.Column("journey", sa.String(length=64), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("milliseconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["journey"], ["readings.journey"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("journey", "model_digest"),
    )
    op.create_index("ix_comparisons_read_at", "comparisons", ["read_at"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("comparisons")
