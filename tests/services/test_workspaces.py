"""Workspaces: one of each folder, however its path is spelled; found, listed, deleted with its sessions."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_TEXTS, VERBATIM, any_name, cases
from tests.services.plans import indexes_of, recorded
from tests.services.scene import dump, make, make_many
from vibeweaver_store import InvalidInput, NotFound, Store, history, sessions, workspaces
from vibeweaver_store.testing import (
    EPOCH,
    HistoryEntryFactory,
    ImportFactory,
    SessionFactory,
    SettableClock,
    WorkspaceFactory,
    columns_of,
)

# Paths


@pytest.mark.parametrize(
    ("path", "normalized"),
    [
        ("/srv/shop", "/srv/shop"),
        ("/srv/shop/", "/srv/shop"),
        ("/srv/shop///", "/srv/shop"),
        ("//srv/shop", "/srv/shop"),
        ("///srv//shop", "/srv/shop"),
        ("/srv/./shop/../shop", "/srv/shop"),
        ("/..", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/srv/~", "/srv/~"),
        ("/srv/ shop ", "/srv/ shop "),
        ("/srv/Übung ♫", "/srv/Übung ♫"),
    ],
)
def test_a_workspace_path_has_one_normal_form(path: str, normalized: str) -> None:
    assert workspaces.normalize(path) == normalized


@pytest.mark.parametrize(
    ("path", "normalized"),
    [
        ("C:\\Users\\me\\shop", "C:\\Users\\me\\shop"),
        ("C:\\Users\\me\\shop\\", "C:\\Users\\me\\shop"),
        ("c:/Users/me/shop//", "c:/Users/me/shop"),
        ("C:\\", "C:\\"),
        ("C:/", "C:\\"),
        ("\\\\server\\share\\", "\\\\server\\share"),
        ("\\\\wsl$\\Ubuntu\\home", "\\\\wsl$\\Ubuntu\\home"),
    ],
)
def test_a_windows_workspace_path_is_kept_but_for_trailing_separators(path: str, normalized: str) -> None:
    assert workspaces.normalize(path) == normalized


def test_a_relative_workspace_path_is_resolved_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspaces.normalize("shop/../here") == f"{tmp_path.resolve()}/here"
    assert workspaces.normalize("~") == f"{tmp_path.resolve()}/~"


def test_a_workspace_path_may_be_a_pathlib_path(tmp_path: Path) -> None:
    assert workspaces.normalize(tmp_path / "shop") == workspaces.normalize(f"{tmp_path}/shop/")


def test_links_in_an_existing_workspace_path_are_resolved(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    assert workspaces.normalize(link) == str(real.resolve())
    assert workspaces.normalize(link / "not there") == f"{link}/not there"


def test_circular_links_in_a_workspace_path_are_left_alone(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert workspaces.normalize(circle) == str(circle)


def test_a_workspace_path_that_links_to_an_undecodable_name_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / "\udcff"
    odd.mkdir()
    (tmp_path / "link").symlink_to(odd)
    with pytest.raises(InvalidInput) as caught:
        workspaces.normalize(tmp_path / "link")
    assert caught.value.field == "path"


def test_a_relative_workspace_path_without_a_working_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidInput, match="gone") as caught:
        workspaces.normalize("shop")
    assert caught.value.field == "path"


def test_a_workspace_path_too_long_once_absolute_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        workspaces.normalize("/".join(["x" * 199] * 10))
    assert caught.value.field == "path"


BAD_PATHS = [*BAD_TEXTS, *cases(nothing=None, empty="", blank=" \t", too_long="/" + "x" * 2000)]


@pytest.mark.parametrize("operation", [workspaces.normalize, workspaces.path_hash])
@pytest.mark.parametrize("path", BAD_PATHS)
def test_normalizing_an_invalid_workspace_path_is_refused(operation: Any, path: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        operation(path)
    assert caught.value.field == "path"


@given(st.one_of(any_name, st.text("ab./\\: C~", min_size=1).filter(str.strip)).filter(lambda path: len(path) < 200))
def test_normalizing_a_workspace_path_is_idempotent(path: str) -> None:
    normalized = workspaces.normalize(path)
    assert workspaces.normalize(normalized) == normalized


def test_the_hash_of_a_workspace_path_is_that_of_its_normal_form() -> None:
    expected = hashlib.sha256(b"/srv/shop").hexdigest()[:16]
    assert [workspaces.path_hash(path) for path in ("/srv/shop", "/srv//shop/")] == [expected] * 2


# Ensure


def test_a_new_workspace_takes_its_values_from_its_path(store: Store, other: Store, clock: SettableClock) -> None:
    made = store.run(workspaces.ensure, "/srv/shop/")
    found = other.query(workspaces.get, made.id)
    assert columns_of(found) == columns_of(made)
    assert (found.path, found.path_hash) == ("/srv/shop", workspaces.path_hash("/srv/shop"))
    assert (found.created_at, found.last_accessed_at, found.import_id) == (clock.instant, clock.instant, None)


def test_ensuring_an_existing_workspace_updates_only_its_last_access(
    store: Store, other: Store, clock: SettableClock
) -> None:
    made, bystander = store.run(workspaces.ensure, "/srv/shop"), store.run(workspaces.ensure, "/srv/other")
    clock.advance(hours=1)
    again = store.run(workspaces.ensure, "/srv/shop/.")
    assert columns_of(again) == columns_of(made) | {"last_accessed_at": clock.instant}
    assert columns_of(other.query(workspaces.get, made.id)) == columns_of(again)
    assert columns_of(other.query(workspaces.get, bystander.id)) == columns_of(bystander)


def test_the_last_access_of_a_workspace_never_goes_backwards(store: Store, clock: SettableClock) -> None:
    made = store.run(workspaces.ensure, "/srv/shop")
    clock.advance(hours=-1)
    assert store.run(workspaces.ensure, "/srv/shop").last_accessed_at == made.last_accessed_at


def test_ensuring_a_workspace_is_one_statement(store: Store) -> None:
    for _ in range(2):
        with recorded_statements(store) as sent:
            store.run(workspaces.ensure, "/srv/shop")
        assert len(sent) == 1


def test_a_workspace_keeps_the_import_that_created_it(store: Store, other: Store) -> None:
    first, second = make_many(store, ImportFactory, {}, {})
    made = store.run(workspaces.ensure, "/srv/shop", import_id=first.id)
    store.run(workspaces.ensure, "/srv/shop", import_id=second.id)
    store.run(workspaces.ensure, "/srv/shop")
    assert other.query(workspaces.get, made.id).import_id == first.id


def test_a_workspace_of_a_missing_import_leaves_the_unit_of_work_usable(store: Store, other: Store) -> None:
    with store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            workspaces.ensure(uow, "/srv/shop", import_id=7)
        made = workspaces.ensure(uow, "/srv/shop")
    assert (caught.value.entity, caught.value.key) == ("import", 7)
    assert other.query(workspaces.find, made.id) is not None


@pytest.mark.parametrize("import_id", cases(negative=-1, true=True, text="1", a_float=1.0, huge=2**63))
def test_an_invalid_import_of_a_workspace_is_refused(lasting_store: Store, import_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(workspaces.ensure, "/srv/shop", import_id=import_id)
    assert caught.value.field == "import_id"


@pytest.mark.parametrize("operation", [workspaces.ensure, workspaces.find_by_path])
@pytest.mark.parametrize("path", BAD_PATHS)
def test_ensuring_a_workspace_at_an_invalid_path_is_refused(lasting_store: Store, operation: Any, path: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, path)
    assert caught.value.field == "path"


@pytest.mark.parametrize("name", VERBATIM)
def test_workspace_folder_names_are_kept_verbatim(lasting_store: Store, name: str) -> None:
    path = f"/srv/verbatim/{name}"
    made = lasting_store.run(workspaces.ensure, path)
    assert lasting_store.query(workspaces.get, made.id).path == path
    assert lasting_store.query(workspaces.find_by_path, path) == made


THREADS, ROUNDS = 8, 20


@pytest.mark.parametrize("drive", ["sync"])
def test_a_workspace_ensured_concurrently_exists_once(store: Store, other: Store) -> None:
    gate = threading.Barrier(THREADS, timeout=30)

    def ensure(number: int) -> list[str]:
        ids = []
        for each in range(ROUNDS):
            gate.wait()
            ids.append((store, other)[number % 2].run(workspaces.ensure, f"/srv/{each}").id)
        return ids

    with ThreadPoolExecutor(THREADS) as threads:
        given = list(threads.map(ensure, range(THREADS)))
    assert given == [given[0]] * THREADS
    assert len(set(given[0])) == ROUNDS


# Get, find, list


def test_a_workspace_is_found_by_any_form_of_its_path(store: Store, other: Store) -> None:
    made = store.run(workspaces.ensure, "/srv/shop")
    assert other.query(workspaces.find_by_path, "//srv/x/../shop/") == made
    assert other.query(workspaces.find_by_path, "/srv/Shop") is None


def test_a_missing_workspace_is_not_found(store: Store) -> None:
    assert store.query(workspaces.find, "nowhere") is None
    assert store.query(workspaces.session_count, "nowhere") == 0
    with pytest.raises(NotFound) as caught:
        store.query(workspaces.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("workspace", "nowhere")


@pytest.mark.parametrize(
    "operation",
    [
        workspaces.get,
        workspaces.find,
        workspaces.require_workspace,
        workspaces.session_count,
        workspaces.delete,
    ],
)
@pytest.mark.parametrize("workspace_id", [*BAD_IDS, pytest.param(None, id="nothing")])
def test_a_workspace_lookup_by_an_invalid_id_is_refused(
    lasting_store: Store, operation: Any, workspace_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, workspace_id)
    assert caught.value.field == "workspace_id"


def test_workspaces_are_paged_by_last_access_newest_first_ties_by_id(store: Store, other: Store) -> None:
    instants = [EPOCH + timedelta(seconds=second) for second in (3, 1, 3, 2, 1, 3)]
    made = make_many(store, WorkspaceFactory, *[{"last_accessed_at": instant} for instant in instants])
    expected = sorted(made, key=lambda each: (each.last_accessed_at, each.id), reverse=True)
    first = other.query(workspaces.page, limit=4)
    second = other.query(workspaces.page, limit=4, cursor=first.next_cursor)
    assert first.items + second.items == expected


@pytest.mark.new_database
def test_a_listing_of_workspaces_uses_the_index_of_its_order(store: Store) -> None:
    with store.begin() as uow:
        uow.insert(*[WorkspaceFactory.build() for _ in range(2000)])
    with recorded(store) as sent:
        store.query(workspaces.page, limit=3)
    assert [indexes_of(store, each) for each in sent] == [["ix_workspaces_by_last_accessed_at"]]


# Delete


def test_deleting_a_workspace_deletes_its_sessions_and_nothing_else(store: Store, other: Store) -> None:
    kept = make(store, SessionFactory, workspace_id=make(store, WorkspaceFactory).id)
    make(store, HistoryEntryFactory, session_id=kept.id)
    make(store, SessionFactory)
    before = dump(other)
    doomed = make(store, WorkspaceFactory)
    for session in make_many(store, SessionFactory, {}, {}, {}, workspace_id=doomed.id):
        make(store, HistoryEntryFactory, session_id=session.id)
    assert other.query(workspaces.session_count, doomed.id) == 3
    assert store.run(workspaces.delete, doomed.id) == 3
    assert dump(other) == before


def test_an_empty_workspace_can_be_deleted(store: Store, other: Store) -> None:
    made = make(store, WorkspaceFactory)
    assert store.run(workspaces.delete, made.id) == 0
    assert other.query(workspaces.find, made.id) is None


def test_deleting_a_missing_workspace_leaves_the_unit_of_work_usable(store: Store, other: Store) -> None:
    with store.begin() as uow:
        with pytest.raises(NotFound, match="nowhere"):
            workspaces.delete(uow, "nowhere")
        made = workspaces.ensure(uow, "/srv/shop")
    assert other.query(workspaces.find, made.id) is not None


def test_deleting_a_workspace_leaves_its_folder_on_disk(store: Store, tmp_path: Path) -> None:
    made = store.run(workspaces.ensure, tmp_path)
    store.run(workspaces.delete, made.id)
    assert tmp_path.is_dir()


def test_a_session_follower_sees_the_deletion_of_its_workspace(store: Store, other: Store) -> None:
    workspace = make(store, WorkspaceFactory)
    session = make(store, SessionFactory, workspace_id=workspace.id)
    store.run(history.append, session.id, "play")
    following = history.follow(store, session.id, idle_seconds=20)
    assert next(following).action == "play"
    other.run(workspaces.delete, workspace.id)
    with pytest.raises(NotFound):
        next(following)


@pytest.mark.parametrize("drive", ["sync"])
def test_a_session_cannot_be_added_to_a_workspace_being_deleted(store: Store, other: Store) -> None:
    workspace = make(store, WorkspaceFactory)
    gate = threading.Barrier(THREADS, timeout=30)

    def work(number: int) -> str | int:
        gate.wait()
        try:
            if number == 0:
                return store.run(workspaces.delete, workspace.id)
            return other.run(sessions.create, name="new", workspace_id=workspace.id).id
        except NotFound:
            return "NotFound"

    with ThreadPoolExecutor(THREADS) as threads:
        deleted, *created = threads.map(work, range(THREADS))
    assert deleted == len([each for each in created if each != "NotFound"])
    assert other.query(sessions.page).items == []


def test_a_workspace_is_found_by_the_hash_of_its_path(store: Store, other: Store) -> None:
    made = store.run(workspaces.ensure, "/srv/shop")

    assert other.query(workspaces.find_by_hash, workspaces.path_hash("/srv/shop/")) == made
    assert other.query(workspaces.find_by_hash, "0" * 16) is None
