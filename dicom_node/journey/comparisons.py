"""What second networks said in shadow: rows of the ledger, apart from the readings whose results are sent."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.journey.ledger import Row


class ComparisonRow(Row):
    """What the second networks said in one journey, or why they could not say anything."""

    __tablename__ = "comparisons"

    journey: Mapped[str] = mapped_column(sa.ForeignKey("readings.journey", ondelete="CASCADE"), primary_key=True)
    model_digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    model_name: Mapped[str]
    model_version: Mapped[str]
    read_at: Mapped[datetime] = mapped_column(index=True)
    failure: Mapped[str] = mapped_column(default="")
    score: Mapped[float | None]
    verdict: Mapped[str] = mapped_column(default="")
    threshold: Mapped[float | None]
    milliseconds: Mapped[float | None]
