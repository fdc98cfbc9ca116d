"""How an alert leaves the node: apprise knows webhooks, mail and a hundred services by their addresses."""

import logging
from collections.abc import Sequence
from enum import StrEnum

import apprise
from pydantic import SecretStr

# Its log may quote addresses, which are secrets.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)


class Urgency(StrEnum):
    """How an alert is marked, where the service has a mark."""

    TROUBLE = "warning"
    OVER = "success"
    TEST = "info"


def send(urls: Sequence[SecretStr], title: str, text: str, urgency: Urgency) -> list[bool]:
    """Tell everybody; returns who took it, in the order of `urls`. Waits for some seconds at most for each."""
    return [_send(url.get_secret_value(), title, text, urgency) for url in urls]


def _send(url: str, title: str, text: str, urgency: Urgency) -> bool:
    service = apprise.Apprise.instantiate(url)
    if service is None:  # no address of a service that apprise knows
        return False
    told = apprise.Apprise()
    told.add(service)
    return bool(told.notify(body=text, title=title, notify_type=apprise.NotifyType(urgency.value)))
