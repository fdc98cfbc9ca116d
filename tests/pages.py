"""The pages as a browser without scripts sees them: on a ledger in a folder, with users who are signed in."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from dicom_node.access import Role
from dicom_node.audit import entries
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.database import open_engine, prepare
from dicom_node.settings import Settings
from dicom_node.web import accounts
from dicom_node.web.accounts import Accounts
from dicom_node.web.gatehouse import COOKIE
from dicom_node.web.server import application

PASSWORD = "four plain words together"


class Pages:
    """The application on a data folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine: sa.Engine = open_engine(settings)
        self.trail = open_trail(settings, self.engine, by="web")
        self.app = application(settings, self.engine, self.trail)
        self.accounts: Accounts = self.app.state.gate.accounts

    def browser(self, **options: Any) -> TestClient:
        """A browser without cookies, which follows nothing by itself."""
        return TestClient(self.app, follow_redirects=False, raise_server_exceptions=False, **options)

    def user(self, name: str, role: Role) -> TestClient:
        """A browser in which a new user with `PASSWORD` is signed in."""
        self.accounts.change_password(name, self.accounts.add(name, role), PASSWORD)
        browser = self.browser()
        token = self.accounts.sign_in(name, PASSWORD)
        assert token is not None
        browser.cookies.set(COOKIE, token)
        return browser

    def audited(self) -> list[dict[str, Any]]:
        """All lines of the audit trail so far."""
        self.trail.close()
        return list(entries(self.settings.audit_dir))


@contextmanager
def pages(folder: Path, **settings: Any) -> Iterator[Pages]:
    """The application on a folder with an empty ledger."""
    shutil.copytree(_prepared(), folder / "data")
    made = Settings(**{"data_dir": folder / "data", "minimum_free_megabytes": 1, "port": 1, **settings})
    shown = Pages(made)
    # The same algorithm at a price that tests can pay; tests/unit/test_accounts.py pays the full one.
    with patch.object(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)):
        yield shown
    shown.trail.close()
    shown.engine.dispose()


@cache
def _prepared() -> Path:
    """A data folder with an empty ledger, made once: the migrations take longer than a test."""
    folder = Path(tempfile.mkdtemp()) / "data"
    prepare(Settings(data_dir=folder))
    return folder


def csrf_of(browser: TestClient, path: str = "/password") -> str:
    """What forms of the page bring back."""
    found = re.search(r'name="csrf" value="([^"]+)"', browser.get(path).text)
    assert found is not None
    return found[1]
