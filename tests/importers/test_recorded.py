"""What importers of whole sources have in common: how a source is called, what is no activity, how a run ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.services.scene import make
from vibeweaver_store import ImportStatus, Store, imports, messages, sessions
from vibeweaver_store.errors import IllegalTransition
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity, recorded, source_name
from vibeweaver_store.importers.runs import running
from vibeweaver_store.testing import SessionFactory, SettableClock
from vibeweaver_store.unit_of_work import UnitOfWork

SOURCE = Path("/srv/lulu.db")


# --- names -----------------------------------------------------------------------------------------------------


def test_an_import_source_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    monkeypatch.chdir(tmp_path)

    assert source_name(Path("link/../theirs/a.db")) == f"{tmp_path.resolve()}/theirs/a.db"
    assert source_name(Path(os.fsdecode(b"/srv/t\xff.db"))) == r"/srv/t\xff.db"


def test_a_circular_link_has_an_import_source_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    assert source_name(tmp_path / "loop") == f"{tmp_path.resolve()}/loop"


@pytest.mark.parametrize(
    "path", ["/srv/a\0b", "/" + "x" * 5000, "/" + "x/" * 3000 + "ä" * 50], ids=["NUL", "long", "deep"]
)
def test_an_impossible_path_has_an_import_source_name_a_column_takes(store: Store, path: str) -> None:
    name = source_name(Path(path))

    made = store.run(imports.begin, "lulu", name, "print")

    assert (made.source, name.isprintable(), name[:4]) == (name, True, path[:4])


def test_import_source_names_of_too_long_paths_stay_distinct() -> None:
    long = "/" + "x" * 3000

    assert source_name(Path(f"{long}a")) != source_name(Path(f"{long}b"))


# --- activity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noted", [True, False])
def test_an_import_that_noted_activity_of_a_session_adds_no_more(
    store: Store, other: Store, clock: SettableClock, noted: bool
) -> None:
    jam = make(store, SessionFactory)
    clock.advance(days=1)

    def work(uow: UnitOfWork, part: Part) -> None:
        if noted:
            note_activity(uow, part, [jam.id, "nobody"])
        messages.append(uow, jam.id, "user", "one more thing")
        part.counts.messages += 1
        keep_activity(uow, part, [jam.id])

    with running(store, "lulu", dry_run=False) as run, recorded(run, SOURCE, "print") as bringing:
        bringing.bring(work)

    assert (other.query(sessions.get, jam.id).last_activity_at == jam.last_activity_at) is noted


# --- the end ---------------------------------------------------------------------------------------------------


def bring_one(uow: UnitOfWork, part: Part) -> None:
    SessionFactory.create(uow=uow, import_id=part.import_id)
    part.counts.new += 1


def test_an_interrupted_import_fails_and_keeps_its_batches(store: Store, other: Store) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        running(store, "lulu", dry_run=False) as run,
        recorded(run, SOURCE, "print") as bringing,
    ):
        bringing.bring(bring_one)
        raise KeyboardInterrupt

    (found,) = other.query(imports.page).items
    assert (found.status, found.counts["new"]) == (ImportStatus.FAILED, 1)
    assert len(other.query(sessions.page).items) == 1


def test_an_import_taken_over_by_another_run_says_so_at_its_end(store: Store, other: Store) -> None:
    with (
        pytest.raises(IllegalTransition, match="was taken over by another run"),
        running(store, "lulu", dry_run=False) as run,
        recorded(run, SOURCE, "print") as bringing,
    ):
        bringing.bring(bring_one)
        other.run(imports.begin, "lulu", str(SOURCE), "print")

    assert [each.status for each in other.query(imports.page).items] == [ImportStatus.RUNNING, ImportStatus.FAILED]
