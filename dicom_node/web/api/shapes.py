"""The shapes of what the API answers. Moments are in UTC, times in seconds unless a name says otherwise."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dicom_node.journey.ledger import utc
from dicom_node.web.orders import Order
from dicom_node.web.worklist import Standing

Moment = Annotated[datetime, AfterValidator(utc)]


class Shape(BaseModel):
    """Made from a row or a dataclass with these attributes."""

    model_config = ConfigDict(from_attributes=True)


class Check(Shape):
    """One part of the node that was looked at."""

    name: str
    well: bool
    detail: str
    remedy: str
    gates: bool = Field(description="Whether the node takes objects in only if this is well.")


class Health(Shape):
    """How the node is. The answer is 200 also if it is not well; /health/ready is for orchestrators."""

    well: bool
    ready: bool = Field(description="Whether it can take objects in.")
    checks: list[Check]


class Hour(Shape):
    """One hour of today on the clock of the node."""

    hour: int
    received: int
    read: int


class Today(Shape):
    """Since midnight on the clock of the node."""

    received: int
    not_read: int
    rejected: int
    read: int
    failed: int
    positive: int
    returned: int
    last_hour: int = Field(description="Read in the last hour.")
    p50: float | None = Field(description="Seconds from arrival to reading, of the last readings.")
    p95: float | None
    hours: list[Hour]


class Disk(Shape):
    """Bytes under data_dir."""

    free: int
    total: int


class Destination(Shape):
    """A destination as it stands."""

    name: str
    configured: bool
    circuit: str = Field(description="closed: results are sent; open, half-open: they wait for it to come back.")
    last_contact_at: Moment | None
    last_error: str
    last_error_at: Moment | None
    results: dict[str, int] = Field(description="State of returns -> how many.")


class Overview(Shape):
    """The node in numbers."""

    counts: dict[str, int] = Field(description="As `covid-xnet status` counts.")
    ages: dict[str, float] = Field(description="Seconds that the oldest waits: reading, return; 0: none waits.")
    today: Today
    disk: Disk | None = Field(description="null: data_dir cannot be reached.")
    destinations: list[Destination]


class Sender(Shape):
    """Who sent objects."""

    ae_title: str
    last_at: Moment
    objects: int


class Peers(Shape):
    """With whom the node speaks."""

    destinations: list[Destination]
    senders: list[Sender]
    allowed: list[str] = Field(description="Who may send; empty: everybody.")


class Echo(Shape):
    """What came of a C-ECHO."""

    peer: str
    well: bool
    answer: str


class Received(Shape):
    """An object as it came, and what the gate said."""

    id: int
    sop_instance_uid: str
    study_instance_uid: str
    calling_ae: str
    received_at: Moment
    accepted: bool
    reason: str
    view: str
    urgency: str
    flags: list[str]


class ReceivedInFull(Received):
    """The same with all that the ledger knows."""

    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str = Field(description="SHA-256 of the object.")
    size: int = Field(description="Bytes.")
    peer_address: str
    times_received: int
    detail: str
    evidence: str
    urgency_evidence: str
    journey: str | None
    attempts: int
    strikes: list[str]
    purged_at: Moment | None


class Reading(Shape):
    """What the networks said. failure: why they could not; empty otherwise."""

    read_at: Moment
    failure: str
    verdict: str
    score: float | None
    shadow: bool = Field(description="Whether nothing may be sent of it.")


class ReadingInFull(Reading):
    """The same with what it rests on."""

    probability: float | None
    threshold: float | None
    commissioning: dict[str, Any] | None
    lungs_found: bool | None
    model_name: str
    model_version: str
    model_digest: str
    milliseconds: float | None
    stages: dict[str, Any] = Field(description="Stage -> milliseconds.")
    statistics: dict[str, Any]
    repairs: list[str]


class Return(Shape):
    """One result on its way to one destination."""

    destination: str
    kind: str
    state: str


class ReturnInFull(Return):
    """The same with what the destination answered. proof: how we know that it has it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    status: int | None = Field(description="C-STORE status of its last answer.")
    proof: str
    reason: str
    failure_reason: int | None = Field(description="Of the last report that it is not committed.")
    transfer_syntax_uid: str
    attempts: int
    refusals: int
    transaction_uid: str
    changed_at: Moment


class Listed(Shape):
    """One object of the worklist."""

    received: Received
    standing: Standing
    patient: dict[str, str] | None = Field(description="Who the patient is; null: the role of the token may not see.")
    reading: Reading | None
    returns: list[Return]


class Worklist(Shape):
    """One page, the newest first. older: `before` of the next; null: this is the last."""

    radiographs: list[Listed]
    older: int | None


class Radiograph(Shape):
    """One object with its whole journey."""

    received: ReceivedInFull
    standing: Standing
    patient: dict[str, str] | None = Field(description="DICOM keyword -> value; null: the role may not see it.")
    reading: ReadingInFull | None
    returns: list[ReturnInFull]


class Done(Shape):
    """What came of an order. number: how many results or readings it was about; 0: there was none (any more)."""

    order: Order
    number: int


class OperatingPoint(Shape):
    """What turns outputs into a verdict, before the site was commissioned."""

    classes: list[str]
    threshold: float
    band: tuple[float, float]
    recipe: str
    recipe_digest: str
    sensitivity: float | None
    temperature: float | None
    tells_apart: bool | None


class Model(Shape):
    """One network. metrics: on patients that it was not trained on."""

    name: str
    title: str
    version: str
    trained: str
    side: int = Field(description="Of its square input, in pixels.")
    data: str
    metrics: dict[str, float]
    files: dict[str, str] = Field(description="File -> SHA-256.")
    operating_point: OperatingPoint | None


class Commissioning(Shape):
    """What this site signed."""

    model: str
    model_digest: str
    threshold: float
    band: tuple[float, float]
    sensitivity: float
    labelled: int
    unlabelled: int
    by: str
    at: str
    digest: str


class Models(Shape):
    """The networks that read, and the commissioning of this site; trouble: why one that is there cannot be used."""

    models: list[Model]
    commissioning: Commissioning | None
    trouble: str


class ModelCard(Shape):
    """One network with its card."""

    model: Model
    card: str = Field(description="Markdown.")
    evaluation: dict[str, Any] | None = Field(description="What `covid-xnet evaluate` found; null: none is kept.")
