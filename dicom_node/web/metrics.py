"""What Prometheus reads: asked of ledger and disk at each scrape, so that it is true after every restart."""

import math
import time
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from dicom_node.inspection.health import free_bytes, oldest_waiting
from dicom_node.journey.ledger import CircuitState, ReadingRow, RejectedObject, ReturnState, circuits
from dicom_node.journey.tallies import counts, returns_by_destination
from dicom_node.settings import Settings
from dicom_node.watch.drift import drifts

_DRIFT_SECONDS: Final = 300.0
_LATEST: Final = 200
"""Readings that the times are of."""


class NodeMetrics(Collector):
    """The node as Prometheus sees it. Names no patient."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._drift: list[Metric] = []
        self._drift_at = -math.inf

    def text(self) -> bytes:
        """All metrics in the text format; raises sa.exc.SQLAlchemyError, OSError."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing: to register asks nothing of the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Ask ledger and disk."""
        free = free_bytes(self._settings)
        yield GaugeMetricFamily("covid_xnet_disk_free_bytes", "Free under data_dir.", value=free)
        low = free < self._settings.minimum_free_megabytes * 1e6
        yield GaugeMetricFamily("covid_xnet_disk_low", "1 if C-STORE is answered 0xA700 for want of room.", value=low)
        with Session(self._engine) as session:
            objects = GaugeMetricFamily("covid_xnet_objects", "As `covid-xnet status` counts.", labels=["state"])
            for state, number in counts(session).items():
                objects.add_metric([state], number)
            yield objects
            yield _refused(session)
            waiting = GaugeMetricFamily("covid_xnet_oldest_waiting_seconds", "Age of what waits.", labels=["queue"])
            for queue, seconds in oldest_waiting(session).items():
                waiting.add_metric([queue], seconds)
            yield waiting
            yield from _destinations(session)
            yield _times(session)
            yield from self._of_drift(session)

    def _of_drift(self, session: Session) -> list[Metric]:
        """Drift, asked of the ledger every few minutes: it moves slowly, and takes a while to tell."""
        if time.monotonic() - self._drift_at > _DRIFT_SECONDS:
            self._drift, self._drift_at = list(_drifts(session)), time.monotonic()
        return self._drift


def _refused(session: Session) -> Metric:
    refused = CounterMetricFamily("covid_xnet_refused", "C-STORE answered with a failure.", labels=["status"])
    numbers = {0xA700: 0}
    query = sa.select(RejectedObject.status, sa.func.count()).group_by(RejectedObject.status)
    for status, number in session.execute(query):
        numbers[status] = number
    for status, number in numbers.items():
        refused.add_metric([f"0x{status:04X}"], number)
    return refused


def _destinations(session: Session) -> Iterator[Metric]:
    results = GaugeMetricFamily("covid_xnet_results", "Result objects.", labels=["destination", "state"])
    for destination, numbers in returns_by_destination(session).items():
        for state in ReturnState:
            results.add_metric([destination, state.value], numbers.get(state, 0))
    yield results
    is_open = GaugeMetricFamily("covid_xnet_circuit_open", "1 if it does not answer.", labels=["destination"])
    for destination, row in circuits(session).items():
        is_open.add_metric([destination], row.state != CircuitState.CLOSED)
    yield is_open


def _times(session: Session) -> Metric:
    latest = session.scalars(
        sa.select(ReadingRow).where(ReadingRow.failure == "").order_by(ReadingRow.read_at.desc()).limit(_LATEST)
    )
    times: dict[str, list[float]] = {}
    for row in latest:
        for stage, milliseconds in row.stages.items():
            times.setdefault(stage, []).append(milliseconds / 1000)
    family = GaugeMetricFamily(
        "covid_xnet_stage_seconds", f"Of the last {_LATEST} readings.", labels=["stage", "quantile"]
    )
    for stage, seconds in times.items():
        for quantile in (0.5, 0.95):
            rank = math.ceil(quantile * len(seconds)) - 1
            family.add_metric([stage, str(quantile)], sorted(seconds)[rank])
    return family


def _drifts(session: Session) -> Iterator[Metric]:
    moved = GaugeMetricFamily(
        "covid_xnet_drift_psi", "How far it is from the reference.", labels=["calling_ae", "quantity"]
    )
    drifted = GaugeMetricFamily("covid_xnet_drifted", "Quantities that drifted.", labels=["calling_ae"])
    shares = GaugeMetricFamily("covid_xnet_share", "Of the latest radiographs.", labels=["calling_ae", "share"])
    for found in drifts(session):
        for shift in found.shifts:
            moved.add_metric([found.calling_ae, shift.quantity], shift.psi)
        drifted.add_metric([found.calling_ae], len(found.drifted))
        for rate in found.rates:
            k, n = rate.latest
            if n:
                shares.add_metric([found.calling_ae, rate.name], k / n)
    yield from (moved, drifted, shares)
