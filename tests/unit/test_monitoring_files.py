"""Alert rules and dashboard ask for metrics, labels and values that the node really tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session

from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, ReceivedObject, ReturnRow, Study, now
from dicom_node.settings import Settings
from dicom_node.web.metrics import NodeMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "covid-xnet.rules.yml").read_text("utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "covid-xnet.json").read_text("utf-8"))
OF_PROMETHEUS = {"instance"}
"""Labels that a scrape adds."""


def expressions() -> list[str]:
    of_rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    return of_rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Metric -> labels of its samples, of a node that has something of everything."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("node"))
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        session.add(Study(study_instance_uid="1.2", first_received_at=now()))
        session.add(CircuitRow(destination="PACS@h:104", state=CircuitState.OPEN, since=now()))
        session.flush()
        for n in range(320):
            session.add(
                ReceivedObject(
                    sop_instance_uid=f"1.2.{n}", digest=str(n), sop_class_uid="1", transfer_syntax_uid="1", size=1,
                    study_instance_uid="1.2", series_instance_uid="1", peer_address="", calling_ae="CR1", accepted=True,
                    journey=str(n), received_at=now(),
                )
            )  # fmt: skip
            session.add(ReadingRow(journey=str(n), read_at=now(), score=n / 320, lungs_found=True, stages={"lungs": 9}))
        session.flush()
        session.add(
            ReturnRow(
                journey="1",
                destination="PACS@h:104",
                kind="x",
                sop_class_uid="1",
                sop_instance_uid="2",
                changed_at=now(),
            )
        )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeMetrics(settings, engine))
    found: dict[str, list[dict[str, str]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    engine.dispose()
    return found


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each metric of an expression with its conditions: label, operator, value."""
    for name, inner in re.findall(r"(covid_xnet_\w+)(?:\{([^}]*)\})?", expression):
        yield name, re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', inner)


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_label_and_value_exists(expression: str, told: dict[str, list[dict[str, str]]]) -> None:
    used = list(selectors(expression))
    assert used
    for name, conditions in used:
        assert name in told
        for label, operator, value in conditions:
            if label in OF_PROMETHEUS:
                continue
            values = {labels[label] for labels in told[name]}
            # Statuses and states that nothing has yet are no samples.
            assert operator != "=" or value in values or (name, label) == ("covid_xnet_refused_total", "status")


def test_every_metric_of_the_node_is_on_the_dashboard(told: dict[str, list[dict[str, str]]]) -> None:
    shown = {name for expression in expressions() for name, _ in selectors(expression)}
    assert shown == told.keys()


def test_rules_say_what_to_do_and_name_labels_that_exist(told: dict[str, list[dict[str, str]]]) -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "action"}
        known = {label for name, _ in selectors(rule["expr"]) for labels in told[name] for label in labels}
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= known


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
