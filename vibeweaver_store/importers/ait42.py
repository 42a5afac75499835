"""Brings in what AIT42 keeps (seed 002): JSON files, an array of sessions a workspace each, and its SQLite database."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from sqlmodel import col, select

from vibeweaver_store.errors import ImportRejected, InvalidInput
from vibeweaver_store.importers.ait42_again import bring_rows_again
from vibeweaver_store.importers.ait42_database import LAYOUT, document_of, path_of, paths_of, strays_of
from vibeweaver_store.importers.ait42_format import Rows, read_session, rows_of
from vibeweaver_store.importers.foreign_database import ForeignDatabase, ForeignRow, fingerprint, opened
from vibeweaver_store.importers.recorded import Part, RecordedSource, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.refreshing import find_earlier
from vibeweaver_store.importers.runs import ImportReport, Progress, Run, running
from vibeweaver_store.importers.transcripts import size_of
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import Workspace
from vibeweaver_store.services import workspaces
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

IMPORTER: Final = "ait42"
_HASH: Final = re.compile("[0-9a-f]{16}")
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""The largest JSON file that is read: AIT42 writes it anew with every change, so that none is ever large."""

DATABASE: Final = "sessions.db"
"""What AIT42 calls its database, in the folder ``~/.ait42``."""
_SQLITE: Final = b"SQLite format 3\0"


class _Item(NamedTuple):
    """A session as a source has it.

    Attributes:
        label: what it is called in the report.
        read: returns its document, and the path of its workspace.
    """

    label: str
    read: Callable[[], tuple[Any, str]]


def import_ait42(
    store: Store,
    paths: Iterable[Path],
    *,
    workspace: str | None = None,
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
    redact: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Bring in AIT42's sessions: a JSON file in one unit of work, a database with one a session.

    Every session counts as an item, and so does a workspace of a database; ``messages`` counts their chat. A session
    that was imported before follows AIT42 until somebody changes it here; new chat is appended either way. What AIT42
    did not define is kept in the session's attributes, under ``ait42``, and the report tells of it. A session that is
    invalid is left out and reported, and the others of its file go in.

    Args:
        store: where to.
        paths: JSON files, databases, and folders of ``*.json`` and ``sessions.db``.
        workspace: the path of the workspace that JSON files are of, where the mapping does not say it. A database says
            it itself.
        mapping: paths of workspaces by the names of files, with or without ``.json``. Without either, a file that is
            named after the hash of a workspace that is known here, as AIT42 names them, is of that one.
        strict: take nothing of a file that has an invalid session.
        redact: strike credentials and ids of organizations out of sessions before they are stored.
        dry_run: tell what would be done, and write nothing.
        progress: is told how many bytes were dealt with.

    Raises:
        StoreError: the store cannot be written; the files before stay brought in.
    """
    with running(store, IMPORTER, dry_run=dry_run) as run:
        for file in files_of(paths):
            count = run.report.sources
            is_database = _is_database(file)
            try:
                if is_database:
                    _bring_database(run, file, progress, strict=strict, redact=redact)
                else:
                    whose = _workspace_of(run, file, mapping or {}, workspace)
                    _bring_file(run, file, whose, strict=strict, redact=redact)
            except ImportRejected as error:
                run.report.sources = count + 1
                run.report.leave_out(file, None, error.reason)
            if progress is not None and not is_database:
                progress(size_of(file))
    return run.report


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are meant: each that is named, and of a folder its ``*.json``, by name, and the database."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.glob("*.json") if each.is_file())
            yield from (each for each in [path / DATABASE] if each.is_file())
        else:
            yield path


def _is_database(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):  # it is told of when it is read
        return False


def _workspace_of(run: Run, file: Path, mapping: Mapping[str, str], workspace: str | None) -> str:
    given = mapping.get(file.name, mapping.get(file.stem, workspace))
    if given is None and _HASH.fullmatch(file.stem) and (known := run.ask(workspaces.find_by_hash, file.stem)):
        return known.path
    if given is None:
        raise ImportRejected(file, f"its workspace is not known: give one, or a mapping that has {file.name!r}")
    try:
        return workspaces.normalize(given)
    except InvalidInput as error:
        raise ImportRejected(file, f"its workspace: {error.message}") from error


# --- JSON files ------------------------------------------------------------------------------------------------


def _bring_file(run: Run, file: Path, workspace: str, *, strict: bool, redact: bool) -> None:
    data = _read(file)
    items = [
        _Item(_label(number, document), partial(_given, document, workspace))
        for number, document in enumerate(_documents(file, data), 1)
    ]
    with recorded(run, file, hashlib.sha256(data).hexdigest()) as bringing:
        bringing.bring(partial(_bring_sessions, items, strict=strict, redact=redact), whole=True)


def _given(document: Any, workspace: str) -> tuple[Any, str]:
    return document, workspace


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ImportRejected(file, "there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImportRejected(file, getattr(error, "strerror", None) or str(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise ImportRejected(file, f"it holds more than {MAX_FILE_BYTES // 1024**2} MiB, as no file of AIT42 does")
    return data


def _documents(file: Path, data: bytes) -> list[Any]:
    """Return the sessions of a file; a blank one has none."""
    if not data.strip():
        return []
    try:
        found = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise ImportRejected(file, f"this is no JSON: {error}") from error
    if not isinstance(found, list):
        raise ImportRejected(file, f"an array of sessions is wanted (got {shown(found)})")
    return found


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)  # it reads a lone surrogate or a NaN, for which one session is left out and not all


def _label(number: int, document: object) -> str:
    key = document.get("id") if isinstance(document, dict) else None
    return f"session {number} {shown(key)}" if isinstance(key, str) else f"session {number}"


# --- the database ----------------------------------------------------------------------------------------------


def _bring_database(run: Run, file: Path, progress: Progress | None, *, strict: bool, redact: bool) -> None:
    with (
        opened(file, IMPORTER, LAYOUT, progress=progress) as source,
        recorded(run, file, fingerprint(file)) as bringing,
    ):
        bringing.bring(partial(_bring_workspaces, source))
        paths = paths_of(source)
        items = (_Item(str(row), partial(_document_and_path, source, row, paths)) for row in source.rows("sessions"))
        _bring_items(bringing, items, strict=strict, redact=redact)
        bringing.bring(partial(_refuse_strays, source))


def _bring_items(bringing: RecordedSource, items: Iterator[_Item], *, strict: bool, redact: bool) -> None:
    if strict:
        bringing.bring(partial(_bring_sessions, list(items), strict=True, redact=redact))
        return
    for item in items:
        bringing.bring(partial(_bring_sessions, [item], strict=False, redact=redact))


def _document_and_path(source: ForeignDatabase, row: ForeignRow, paths: dict[object, Any]) -> tuple[Any, str]:
    return document_of(source, row), path_of(row, paths)


def _bring_workspaces(source: ForeignDatabase, uow: UnitOfWork, part: Part) -> None:
    for row in source.rows("workspaces"):
        made = part.attempt(row, partial(_workspace, row, part.import_id, uow))
        if made is None:
            continue
        if uow.exec(select(col(Workspace.id)).where(col(Workspace.path) == made.path)).first() is not None:
            part.counts.duplicate += 1
            continue
        uow.insert(made)
        part.counts.new += 1
        if row["workspace_hash"] not in {None, made.path_hash}:
            part.note("workspaces.workspace_hash is another one here")


def _workspace(row: ForeignRow, import_id: int, uow: UnitOfWork) -> Workspace:
    path, now = workspaces.normalize(row["workspace_path"]), uow.now()
    created_at = row.optional_time("created_at") or now
    return Workspace.build(
        path=path,
        path_hash=workspaces.path_hash(path),
        created_at=created_at,
        last_accessed_at=row.optional_time("last_accessed_at") or created_at,
        import_id=import_id,
    )


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    part.refuse(strays_of(source), "its session is not there")


# --- sessions --------------------------------------------------------------------------------------------------


class _Read(NamedTuple):
    item: _Item
    rows: Rows
    workspace: str


def _bring_sessions(items: Iterable[_Item], uow: UnitOfWork, part: Part, *, strict: bool, redact: bool) -> None:
    read: dict[str, _Read] = {}
    redactor = Redactor(redact)
    for item in items:
        found = part.attempt(item.label, partial(_rows, item, redactor, part.import_id, read))
        if found is not None:
            read[found.rows.session.id] = found
    part.counts.redacted += redactor.count
    if strict and part.counts.broken:
        for session_id in read:
            part.leave_out(f"session {session_id!r}", "others of its file are invalid")
        return
    for session_id, found in read.items():
        earlier = find_earlier(uow, IMPORTER, session_id)
        if earlier is not None:
            bring_rows_again(uow, part, earlier, found.rows, item=found.item.label)
            continue
        found.rows.session.workspace_id = workspaces.ensure(uow, found.workspace, import_id=part.import_id).id
        found.rows.insert(uow)
        part.notes.update(found.rows.besides)
        part.counts.new += 1
        part.counts.sessions += 1
        part.counts.messages += len(found.rows.chat)


def _rows(item: _Item, redactor: Redactor, import_id: int, before: Mapping[str, object]) -> _Read:
    document, workspace = item.read()
    session = read_session(redactor.strike(document))
    if session.id in before:
        raise InvalidInput("id: it came before in the file", field="id")
    return _Read(item, rows_of(session, import_id), workspaces.normalize(workspace))
