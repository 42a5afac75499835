"""A session of AIT42 that was imported before: new chat is appended, and what nobody touched here is updated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.importers.ait42_format import Rows
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity
from vibeweaver_store.importers.refreshing import Earlier, bring_again
from vibeweaver_store.models import Arena, ArenaRuntime, Base, Instance
from vibeweaver_store.services import arenas, messages
from vibeweaver_store.services.messages import NewMessage
from vibeweaver_store.unit_of_work import UnitOfWork


def bring_rows_again(uow: UnitOfWork, part: Part, earlier: Earlier, rows: Rows, *, item: str) -> None:
    """Bring a session that is there already up to what AIT42 has of it, and count it.

    Chat that it has not yet is appended, whatever was done here. The rest follows AIT42 where nobody has changed the
    session here: see :mod:`refreshing`. Instances, runtimes and messages that AIT42 has no longer stay.
    """
    key = rows.session.id
    if earlier.made_by is None:
        part.counts.duplicate += 1
        part.note(f"{item} is here already and did not come from AIT42; it stays as it is here")
        return
    note_activity(uow, part, [key])
    changes = _changes(uow, rows)
    said = messages.append_many(uow, key, [_new_message(each) for each in rows.chat], if_exists="ignore")
    part.counts.messages += said
    if said and not changes.any and not earlier.differences(rows.session):
        part.counts.updated += 1
    elif bring_again(uow, part, earlier, rows.session, item=item, others_differ=changes.any):
        changes.write(uow)
        part.notes.update(rows.besides)
    keep_activity(uow, part, [key])


def _new_message(message: object) -> NewMessage:
    names = ("role", "content", "public_id", "instance_id", "created_at", "import_id")
    return NewMessage(**{name: getattr(message, name) for name in names})


@dataclass(slots=True)
class _Changes:
    """The rows of a session that AIT42 has otherwise by now, or that are not there yet."""

    new: list[Base] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    arena: Arena | None = None

    @property
    def any(self) -> bool:
        return bool(self.new or self.instances or self.arena)

    def write(self, uow: UnitOfWork) -> None:
        for instance in self.instances:
            own = (col(Instance.session_id) == instance.session_id, col(Instance.instance_id) == instance.instance_id)
            values = instance.model_dump(exclude={"session_id", "instance_id", "import_id"})
            uow.exec(sa.update(Instance).where(*own).values(**values))
        uow.insert(*[row for row in self.new if isinstance(row, Instance)])  # of which one may be the winner
        if self.arena is not None:
            values = self.arena.model_dump(exclude={"session_id"})
            uow.exec(sa.update(Arena).where(col(Arena.session_id) == self.arena.session_id).values(**values))
        uow.insert(*[row for row in self.new if not isinstance(row, Instance)])


def _changes(uow: UnitOfWork, rows: Rows) -> _Changes:
    key, changes = rows.session.id, _Changes()
    there = {each.instance_id: each for each in arenas.instances(uow, key)}
    for instance in rows.instances:
        known = there.get(instance.instance_id)
        if known is None:
            changes.new.append(instance)
        elif _differs(known, instance, apart_from=("import_id",)):
            changes.instances.append(instance)
    arena = arenas.find(uow, key)
    if arena is None:
        changes.new.append(rows.arena)
    elif _differs(arena, rows.arena):
        changes.arena = rows.arena
    mix = set(arenas.runtimes(uow, key))
    changes.new += [each for each in rows.runtimes if isinstance(each, ArenaRuntime) and each.runtime not in mix]
    return changes


def _differs(there: Base, now: Base, *, apart_from: Sequence[str] = ()) -> bool:
    names = [name for name in type(now).model_fields if name not in apart_from]
    return any(getattr(there, name) != getattr(now, name) for name in names)
