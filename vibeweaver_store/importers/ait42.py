"""Brings in the JSON files in which AIT42 keeps its sessions (seed 002): one array of sessions a workspace."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from vibeweaver_store.errors import ImportRejected, InvalidInput
from vibeweaver_store.importers.ait42_format import read_session, rows_of
from vibeweaver_store.importers.recorded import Part, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.runs import ImportReport, Progress, Run, running
from vibeweaver_store.importers.transcripts import size_of
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import Base, Session
from vibeweaver_store.services import sessions, workspaces
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

IMPORTER: Final = "ait42"
_HASH: Final = re.compile("[0-9a-f]{16}")
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""The largest file that is read: AIT42 writes the whole file anew with every change, so that none is ever large."""

_Rows: TypeAlias = tuple[Session, list[list[Base]]]
"""A session, and lists of what belongs to it, in the order in which they are to be written; its chat comes last."""


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
    """Bring in AIT42's session files, each in one unit of work.

    Every session counts as an item; ``messages`` counts their chat. A session whose id is there already is a duplicate
    and stays as it is: what was said in it since does not come in. What AIT42 did not define is kept in the session's
    attributes, under ``ait42``. A session that is invalid is left out and told of, and the others of its file go in.

    Args:
        store: where to.
        paths: files, and folders of ``*.json``.
        workspace: the path of the workspace that the files are of, where the mapping does not say it.
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
            try:
                whose = _workspace_of(run, file, mapping or {}, workspace)
                _bring_file(run, file, partial(_bring_sessions, whose, strict=strict, redact=redact))
            except ImportRejected as error:
                run.report.sources += 1
                run.report.leave_out(file, None, error.reason)
            if progress is not None:
                progress(size_of(file))
    return run.report


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are meant: each that is named, and of a folder its ``*.json``, by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.glob("*.json") if each.is_file())
        else:
            yield path


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


def _bring_file(run: Run, file: Path, bring: Callable[[Sequence[Any], UnitOfWork, Part], None]) -> None:
    data = _read(file)
    documents = _documents(file, data)
    with recorded(run, file, hashlib.sha256(data).hexdigest()) as bringing:
        bringing.bring(partial(bring, documents), whole=True)


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


def _bring_sessions(
    workspace: str, documents: Sequence[Any], uow: UnitOfWork, part: Part, *, strict: bool, redact: bool
) -> None:
    read: dict[str, _Rows] = {}
    redactor = Redactor(redact)
    for number, document in enumerate(documents, 1):
        found = part.attempt(_label(number, document), partial(_rows, document, redactor, part.import_id, read))
        if found is not None:
            read[found[0].id] = found
    part.counts.redacted += redactor.count
    if strict and part.counts.broken:
        for session_id in read:
            part.leave_out(f"session {session_id!r}", "others of its file are invalid")
        return
    for session, belongings in read.values():
        if sessions.find(uow, session.id) is None:
            session.workspace_id = workspaces.ensure(uow, workspace, import_id=part.import_id).id
            uow.insert(session)
            for rows in belongings:
                uow.insert(*rows)
            part.counts.new += 1
            part.counts.sessions += 1
            part.counts.messages += len(belongings[-1])
        else:
            part.counts.duplicate += 1


def _rows(document: object, redactor: Redactor, import_id: int, before: Mapping[str, object]) -> _Rows:
    session = read_session(redactor.strike(document))
    if session.id in before:
        raise InvalidInput("id: it came before in the file", field="id")
    return rows_of(session, import_id)


def _label(number: int, document: object) -> str:
    key = document.get("id") if isinstance(document, dict) else None
    return f"session {number} {shown(key)}" if isinstance(key, str) else f"session {number}"
