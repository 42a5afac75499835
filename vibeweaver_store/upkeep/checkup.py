"""What is wrong with a database, or soon will be: for people who look after it, and for CI.

Each check stands alone, so it works on what no store can be opened on: a damaged file, another schema, another
application's database. No content is changed by looking: of a sound SQLite file, what is committed in the ``-wal`` is
brought into the database as far as nobody holds it back, which is how it is seen whether somebody does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from vibeweaver_store.engine import resolve
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.upkeep.checkup_postgresql import findings_of_server
from vibeweaver_store.upkeep.checkup_sqlite import findings_of_file
from vibeweaver_store.upkeep.findings import Finding


@dataclass(frozen=True, slots=True)
class Checkup:
    """A database as :func:`check` found it.

    Attributes:
        place: its file or URL, without a password.
        backend: ``sqlite`` or ``postgresql``.
        findings: one for each check that was made.
    """

    place: str
    backend: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> bool:
        """Whether anything is broken."""
        return any(finding.verdict == "broken" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return sum(finding.verdict == "warning" for finding in self.findings)


def check(database: str | Path | URL | None = None, *, settings: Settings | None = None) -> Checkup:
    """Look for what is wrong with a database, whatever state it is in; a database that is not there is a finding too.

    It reads the whole of an SQLite file. Others may write meanwhile, but in a rollback journal mode they wait for it.
    No content is changed; committed pages may go from the ``-wal`` into the file.

    Raises:
        InvalidInput: ``database`` is blank, a URL of an unknown backend, or in memory.
    """
    settings = settings or load()
    target = resolve(database, settings)
    if target.temporary:
        raise InvalidInput("an in-memory store lives within its Store; there is no other to check")
    checks = findings_of_file(target, settings) if target.backend == "sqlite" else findings_of_server(target, settings)
    with FORK_GATE.passing():
        return Checkup(target.place, target.backend, tuple(checks))
