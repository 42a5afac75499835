"""An import of a vibeweaver database by a process that ends amid it: it leaves whole sessions, and the next goes on."""

from __future__ import annotations

from pathlib import Path

from tests.importers.foreign_files import vibeweaver_database
from tests.spawning import Processes
from vibeweaver_store import ImportStatus, Store, imports, markers, sessions
from vibeweaver_store.importers.vibeweaver import import_vibeweaver

_KILLED = """
import os, sys
from pathlib import Path
from vibeweaver_store import Store
from vibeweaver_store.importers.vibeweaver import import_vibeweaver
told = 0
def tell(count):
    global told
    told += 1
    if told == 25:
        os._exit(9)
import_vibeweaver(Store.open(sys.argv[1]), Path(sys.argv[2]), progress=tell)
"""


def test_a_killed_import_leaves_whole_sessions_and_the_next_run_goes_on(
    processes: Processes, database: str, other: Store, tmp_path: Path
) -> None:
    path = tmp_path / "vibeweaver.db"
    names = [f"jam-{n}" for n in range(20)]
    vibeweaver_database(
        path,
        sessions=[{"id": name} for name in names],
        markers=[{"id": f"{name}-{n}", "session_id": name} for name in names for n in range(3)],
    )

    done = processes.run(_KILLED, database, path)

    assert done.returncode == 9, done.stderr
    there = [each.id for each in other.query(sessions.page).items]
    assert sorted(there) == sorted(names[: len(there)])
    assert 0 < len(there) < 20
    assert [len(other.query(markers.page, name).items) for name in there] == [3] * len(there)
    again = import_vibeweaver(other, path)
    assert (again.counts.sessions, again.counts.new) == (20 - len(there), 4 * (20 - len(there)))
    assert [each.status for each in other.query(imports.page).items] == [ImportStatus.COMPLETED, ImportStatus.FAILED]
