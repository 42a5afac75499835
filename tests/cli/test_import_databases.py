"""``import ait42``, ``vibeweaver``, ``lulu``, ``vibe-ensemble`` and ``memva`` on the line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from tests.importers.foreign_files import (
    OF_MEMVA,
    OF_VIBE_ENSEMBLE,
    OF_VIBEWEAVER,
    ait42_database,
    ait42_file,
    ait42_message,
    ait42_session,
    lulu_database,
    memva_database,
    vibe_ensemble_database,
    whole_ensemble,
    whole_jam,
    write_rows,
)
from tests.importers.undoing import content
from vibeweaver_store import Store, sessions
from vibeweaver_store.services import imports, messages
from vibeweaver_store.testing import CommentFactory


def ids(store: Store) -> set[str]:
    return {each.id for each in store.query(sessions.page).items}


@pytest.fixture
def sessions_file(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return ait42_file(tmp_path / "theirs" / "app.json", [ait42_session("one", chatHistory=[ait42_message()])])


@pytest.fixture
def lulu(tmp_path: Path) -> Path:
    said = [{"id": "m1", "session_id": "one"}, {"id": "m2", "session_id": "one", "role": "assistant"}]
    return lulu_database(tmp_path / "lulu.db", sessions=[{"id": "one"}], messages=said)


# --- databases -------------------------------------------------------------------------------------------------


def test_import_brings_in_a_database_of_each_application(line: Line, look: Store, tmp_path: Path, lulu: Path) -> None:
    jams = whole_jam(tmp_path / "vibeweaver.db")
    prompt = '{"type":"user","message":{"content":"Go."}}'
    events = [{"uuid": "e1", "memva_session_id": "two", "data": prompt}]
    memva = memva_database(tmp_path / "memva.db", sessions=[{"id": "two"}], events=events, jobs=[{"id": "job"}])
    ensemble = whole_ensemble(tmp_path / "ensemble.db")

    for name, file in (("vibeweaver", jams), ("lulu", lulu), ("memva", memva), ("vibe-ensemble", ensemble)):
        done = line("import", name, file)
        assert (done.code, done.err) == (0, "")

    assert ids(look) == {"jam-1", "one", "two"}
    assert {each.importer for each in look.query(imports.page).items} == {
        *("vibeweaver", "lulu", "memva", "vibe-ensemble"),
    }


def test_import_of_a_database_prints_its_report_as_a_card(line: Line, lulu: Path) -> None:
    done = line("import", "lulu", lulu)

    told = dict(row.split(maxsplit=1) for row in done.out.splitlines() if not row.startswith("left out"))
    assert (told["sources"], told["read"], told["new"], told["sessions"], told["messages"]) == (
        *("1 source", "3", "3", "1", "2"),
    )
    assert told["imports"] == "1"


def test_import_of_a_database_prints_its_report_as_one_json_document(line_on_both: Line, lulu: Path) -> None:
    first = line_on_both("import", "lulu", lulu, "--json")
    again = line_on_both("import", "lulu", lulu, "--json")

    assert (first.code, again.code) == (0, 0)
    assert (first.document["new"], first.document["duplicate"], len(first.document["imports"])) == (3, 0, 1)
    assert (again.document["new"], again.document["duplicate"], again.document["imports"]) == (0, 3, [])


def test_import_of_a_database_reports_rejected_rows_and_exits_4(line: Line, look: Store, tmp_path: Path) -> None:
    said = [{"id": "m1", "session_id": "one", "timestamp": "soon"}, {"id": "m2", "session_id": "one"}]
    file = lulu_database(tmp_path / "lulu.db", sessions=[{"id": "one"}], messages=said)

    done = line("import", "lulu", file)

    assert done.code == 4
    assert done.err == (
        f"vibeweaver-store: {file}: messages 'm1': timestamp: must be a time as 2026-01-13T10:00:00Z (got 'soon')\n"
    )
    assert len(look.query(messages.page, "one").items) == 1


def test_a_dry_run_of_a_database_import_writes_nothing(line: Line, look: Store, lulu: Path) -> None:
    done = line("import", "lulu", lulu, "--dry-run", "--json")

    assert (done.code, done.document["new"], done.document["dry_run"]) == (0, 3, True)
    assert done.err == "a dry run: nothing was written\n"
    assert ids(look) == set()


def test_import_undo_removes_an_imported_database(line: Line, look: Store, lulu: Path) -> None:
    (import_id,) = line("import", "lulu", lulu, "--json").document["imports"]

    assert line("import", "undo", import_id, "--yes").code == 0
    assert ids(look) == set()


@pytest.mark.parametrize("name", ["vibeweaver", "lulu", "memva", "vibe-ensemble"])
def test_importing_a_database_of_another_kind_is_one_error(line: Line, tmp_path: Path, name: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 100)

    done = line("import", name, file)

    assert (done.code, done.error) == (4, f"{file}: this is no SQLite database")


def test_importing_the_store_itself_is_refused(line: Line, sqlite_path: Path) -> None:
    done = line("import", "lulu", sqlite_path)

    assert done.code == 4
    assert done.error.endswith("this is a store of vibeweaver-store itself; open it with --db, or restore it")


SECRET = "sk-ant-api03-" + "a1b2c3d4" * 4


@pytest.fixture
def with_secrets(tmp_path: Path) -> dict[str, list[Any]]:
    """What follows ``import`` to bring in one secret of each application."""
    event = {"uuid": "e", "data": json.dumps({"type": "user", "message": {"content": SECRET}})}
    jams = whole_jam(tmp_path / "vibeweaver.db")
    write_rows(jams, OF_VIBEWEAVER, sessions=[{"id": "jam-2", "name": SECRET}])
    said = [{"id": "m1", "session_id": "one", "content": SECRET}]
    theirs = ait42_file(tmp_path / "app.json", [ait42_session("one", chatHistory=[ait42_message(content=SECRET)])])
    events = [{**event, "memva_session_id": "one"}]
    return {
        "ait42": ["ait42", theirs, "--workspace", "/srv/app"],
        "vibeweaver": ["vibeweaver", jams],
        "lulu": ["lulu", lulu_database(tmp_path / "lulu.db", sessions=[{"id": "one"}], messages=said)],
        "memva": ["memva", memva_database(tmp_path / "memva.db", sessions=[{"id": "one"}], events=events)],
        "vibe-ensemble": [
            "vibe-ensemble",
            vibe_ensemble_database(
                tmp_path / "ensemble.db", projects=[{"repository_name": "band/song", "short_description": SECRET}]
            ),
        ],
    }


@pytest.mark.parametrize("name", ["ait42", "vibeweaver", "lulu", "memva", "vibe-ensemble"])
def test_import_of_a_database_redacts_secrets_by_default(
    line: Line, with_secrets: dict[str, list[Any]], name: str
) -> None:
    words = ["import", *with_secrets[name], "--json"]

    assert line(*words, "--dry-run").document["redacted"] == 1
    assert line(*words, "--no-redact").document["redacted"] == 0


def test_import_with_no_redact_keeps_a_secret_verbatim(
    line: Line, look: Store, with_secrets: dict[str, list[Any]]
) -> None:
    assert line("import", *with_secrets["lulu"], "--no-redact").code == 0

    assert look.query(messages.page, "one").items[0].content == SECRET


def test_a_dry_run_of_a_database_import_makes_no_store(line: Line, tmp_path: Path, lulu: Path) -> None:
    new = tmp_path / "new.db"

    tried = line("--db", new, "import", "lulu", lulu, "--dry-run", "--json")

    assert (tried.code, tried.document["new"]) == (0, 3)
    assert not new.exists()
    assert line("--db", new, "import", "lulu", lulu).code == 0
    assert new.exists()


def test_import_of_a_database_shows_only_its_report_at_a_terminal(
    sqlite_path: Path, lulu: Path, run_at_terminal: RunAtTerminal
) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "import", "lulu", lulu, "--json")

    assert code == 0
    assert '"new":3' in shown


@pytest.mark.parametrize("name", ["ait42", "vibeweaver", "lulu", "memva", "vibe-ensemble"])
def test_import_of_a_database_without_a_file_is_wrong_usage(line: Line, name: str) -> None:
    assert line("import", name).code == 2


# --- vibe-ensemble ---------------------------------------------------------------------------------------------


def test_an_ensemble_can_be_imported_again_and_undone(line_on_both: Line, tmp_path: Path, database: str) -> None:
    file = whole_ensemble(tmp_path / "ensemble.db")

    tried = line_on_both("import", "vibe-ensemble", file, "--dry-run", "--json")
    first = line_on_both("import", "vibe-ensemble", file, "--json")
    again = line_on_both("import", "vibe-ensemble", file, "--json")

    assert (tried.code, first.code, again.code) == (0, 0, 0)
    (key,) = first.document["imports"]
    assert {**tried.document, "dry_run": False, "imports": [key], "seconds": 0} == {**first.document, "seconds": 0}
    assert (first.document["new"], again.document["new"], again.document["duplicate"]) == (10, 0, 10)
    asked = line_on_both("import", "undo", key)
    assert "worker types, 1 ticket, 2 comments, 2 workers, 2 coordination events?" in asked.err
    assert line_on_both("import", "undo", key, "--yes").err == (
        f"undid import {key}: removed 0 sessions, 0 messages, 0 journal events, 0 workspaces, 1 project, "
        "2 worker types, 1 ticket, 2 comments, 2 workers, 2 coordination events\n"
    )
    with Store.open(database) as store:
        assert not any(content(store).values())


def test_import_of_an_ensemble_reports_rejected_and_kept_rows(line: Line, look: Store, tmp_path: Path) -> None:
    file = whole_ensemble(tmp_path / "ensemble.db")
    broken = {"ticket_id": "T-2", "execution_plan": '["writer","writer"]'}
    write_rows(file, OF_VIBE_ENSEMBLE, tickets=[broken], comments=[{"ticket_id": "T-2", "content": "a"}])

    done = line("import", "vibe-ensemble", file)

    assert done.code == 4
    of_ticket, of_comment = done.err.splitlines()
    refused = "execution_plan: must name each stage once ('writer' comes twice)"
    assert of_ticket.startswith(f"vibeweaver-store: {file}: tickets 'T-2': {refused}")
    assert of_comment == f"vibeweaver-store: {file}: comments 3: its ticket was left out"
    with look.begin() as uow:
        CommentFactory.create(uow=uow, ticket_id="T-1")
    assert line("import", "undo", 1, "--yes").err.endswith("; kept 1 project, 1 ticket that others use\n")


# --- AIT42 -----------------------------------------------------------------------------------------------------


def test_import_ait42_takes_a_workspace_for_all_files(line: Line, look: Store, sessions_file: Path) -> None:
    done = line("import", "ait42", sessions_file.parent, "--workspace", "/srv/app")

    assert (done.code, done.err) == (0, "")
    assert ids(look) == {"one"}


def test_import_ait42_takes_workspaces_from_a_mapping(
    line: Line, look: Store, sessions_file: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "workspaces.json"
    mapping.write_text('{"app": "/srv/app"}')

    assert line("import", "ait42", sessions_file, "--mapping", mapping).code == 0
    assert ids(look) == {"one"}


def test_import_ait42_without_a_workspace_says_what_to_give(line: Line, look: Store, sessions_file: Path) -> None:
    done = line("import", "ait42", sessions_file)

    assert done.code == 4
    assert done.err == (
        f"vibeweaver-store: {sessions_file}: its workspace is not known: give one, or a mapping that has 'app.json'\n"
    )
    assert ids(look) == set()


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "this is no JSON"), ("[]", "must be a JSON object of workspaces by the names of files")]
)
def test_import_ait42_with_an_unreadable_mapping_is_one_error(
    line: Line, sessions_file: Path, tmp_path: Path, text: str, reason: str
) -> None:
    mapping = tmp_path / "workspaces.json"
    mapping.write_text(text)

    done = line("import", "ait42", sessions_file, "--mapping", mapping)

    assert done.code == 4
    assert done.error.startswith(f"{mapping}: {reason}")


def test_import_ait42_with_strict_takes_all_of_a_file_or_nothing(line: Line, look: Store, tmp_path: Path) -> None:
    documents: list[Any] = [ait42_session("one"), {"id": "two"}]
    file = ait42_file(tmp_path / "app.json", documents)

    strict = line("import", "ait42", file, "--workspace", "/srv/app", "--strict")
    assert (strict.code, ids(look)) == (4, set())
    lenient = line("import", "ait42", file, "--workspace", "/srv/app")
    assert (lenient.code, ids(look)) == (4, {"one"})


# --- the seeds to the letter -----------------------------------------------------------------------------------


def test_import_ait42_takes_a_database_that_names_its_workspaces(line_on_both: Line, tmp_path: Path) -> None:
    file = ait42_database(
        tmp_path / "sessions.db",
        workspaces=[{}],
        sessions=[{"id": "session-1"}],
        instances=[{"instance_id": 0}],
        chat_messages=[{"id": "a"}],
    )

    done = line_on_both("import", "ait42", file, "--json")

    assert (done.code, done.document["new"], done.document["messages"]) == (0, 2, 1)
    shown = line_on_both("arenas", "show", "session-1", "--json")
    assert (shown.code, len(shown.document["instances"])) == (0, 1)
    listed = line_on_both("workspaces", "list", "--json")
    assert [each["path"] for each in listed.documents] == ["/srv/app"]


def test_import_tells_on_stderr_of_words_it_read_otherwise_and_exits_0(line_on_both: Line, tmp_path: Path) -> None:
    words = ["idle", "idle", "starting"]
    rows = [{"id": str(number), "status": word} for number, word in enumerate(words)]
    file = lulu_database(tmp_path / "lulu.db", sessions=rows)

    done = line_on_both("import", "lulu", file)

    assert (done.code, "noted      2" in done.out) == (0, True)
    assert done.err.splitlines() == [
        f"note: {file}: sessions.status 'idle' is read as paused (2 rows)",
        f"note: {file}: sessions.status 'starting' is read as created",
    ]
    shown = line_on_both("import", "show", 1)
    assert "sessions.status 'idle' is read as paused (2 rows)" in shown.out
    again = line_on_both("import", "lulu", file)
    assert (again.code, again.err) == (0, "")


def test_import_memva_tells_of_columns_that_it_left_out_and_exits_4(line: Line, tmp_path: Path) -> None:
    file = memva_database(tmp_path / "memva.db")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE jobs ADD COLUMN tags TEXT")
        connection.execute("ALTER TABLE sessions ADD COLUMN settings TEXT")
    write_rows(file, OF_MEMVA, sessions=[{"id": "one", "settings": "x"}], jobs=[{"id": "j", "tags": "x"}])

    done = line("import", "memva", file)

    assert done.code == 4
    assert done.err.splitlines() == [
        f"vibeweaver-store: {file}: jobs.tags was left out: there is no place for it here",
        f"note: {file}: sessions.settings has no column here and is kept in the session's attributes",
    ]


def test_import_shows_only_the_first_notes(line: Line, tmp_path: Path) -> None:
    rows = [{"id": str(number), "status": f"word {number}"} for number in range(25)]
    file = lulu_database(tmp_path / "lulu.db", sessions=rows)

    done = line("import", "lulu", file)

    assert len(done.err.splitlines()) == 21
    assert done.err.splitlines()[-1] == "and 5 more notes; --json lists the first 1,000"
