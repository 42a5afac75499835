"""What the package relies on in SQLAlchemy's ORM: sessions, identity maps and states of rows."""

from __future__ import annotations

import ast
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.orm import attributes, object_session

from tests.canaries.canary import Library

canary = Library("SQLAlchemy")

PACKAGE = Path(__file__).resolve().parents[2] / "vibeweaver_store"


class Base(orm.DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]


class LateSession(orm.Session):
    """A session that is made without ``Session.__init__``, and keeps nothing until it is used, as GuardedSession."""

    def __init__(self, bind: sa.Connection) -> None:
        self.late_bind = bind
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        from sqlalchemy.orm import session as orm_session
        from sqlalchemy.orm.identity import _WeakInstanceDict

        blank = vars(orm.Session(expire_on_commit=False, execution_options={"populate_existing": True}))
        if name not in blank or self.asked:
            raise AttributeError(name)
        self.asked.append(name)
        self.__dict__.update(blank)
        self.identity_map = _WeakInstanceDict()
        self._new = {}
        self._deleted = {}
        self.bind = self.late_bind
        self.hash_key = orm_session._new_sessionid()
        orm_session._sessions[self.hash_key] = self
        return self.__dict__[name]


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        connection.execute(sa.insert(Thing).values(id=1, name="one"))
        connection.commit()
        yield connection
    engine.dispose()


@pytest.fixture
def session(connection: sa.Connection) -> Iterator[Any]:
    with orm.Session(connection, expire_on_commit=False) as session:
        yield session


def names_defined_in(*modules: str) -> set[str]:
    """Return what our classes in some modules define: methods, class attributes, and what they set on ``self``."""
    names: set[str] = set()
    for module in modules:
        for each in ast.walk(ast.parse((PACKAGE / module).read_text())):
            if isinstance(each, ast.ClassDef):
                names |= {node.name for node in each.body if isinstance(node, ast.FunctionDef)}
                targets: list[ast.expr] = [node.target for node in each.body if isinstance(node, ast.AnnAssign)]
                targets += [target for node in each.body if isinstance(node, ast.Assign) for target in node.targets]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                names |= {each.attr} if ast.unparse(each.value) == "self" else set()
    return names


# --- what a session keeps --------------------------------------------------------------------------------------


@canary("guarded_session.py", to="make a session late, by a copy of what another one keeps")
def test_a_session_keeps_everything_in_its_dictionary(session: Any) -> None:
    assert not [each for each in type(session).__mro__ if vars(each).get("__slots__")]
    assert "identity_map" in vars(session)


@canary("guarded_session.py", to="share what a new session keeps, but for these, among units of work")
def test_identity_map_and_new_and_deleted_are_all_that_changes_of_what_a_session_keeps() -> None:
    kept = vars(orm.Session())
    plain = (bool, int, str, type, type(None))

    changing = {
        name
        for name, value in kept.items()
        if not isinstance(value, plain)
        and type(value).__name__ not in {"immutabledict", "_SessionCloseState", "JoinTransactionMode"}
    }
    assert changing == {"identity_map", "_new", "_deleted"}


@canary("guarded_session.py", to="make the identity map of a session")
def test_the_identity_map_of_a_session_is_a_weak_instance_dict_that_takes_no_arguments() -> None:
    from sqlalchemy.orm.identity import _WeakInstanceDict

    assert type(orm.Session().identity_map) is type(_WeakInstanceDict()) is _WeakInstanceDict


@canary("guarded_session.py", to="let object_session() and edits of rows find their unit of work")
def test_open_sessions_are_kept_by_numbers_that_are_never_given_twice() -> None:
    from sqlalchemy.orm import session as orm_session

    made: Any = orm.Session()

    assert orm_session._sessions[made.hash_key] is made
    assert orm_session._new_sessionid() not in {made.hash_key, orm_session._new_sessionid()}


@canary("guarded_session.py", to="begin with a session once it is used, not before")
def test_a_session_has_nothing_at_its_class_of_what_it_keeps_but_execution_options() -> None:
    kept = vars(orm.Session(execution_options={"populate_existing": True}))
    of_class = {name for name in kept if hasattr(orm.Session, name)}

    assert of_class == {"execution_options"}


@canary("guarded_session.py", "unit_of_work.py", to="turn into a session when one is asked for")
def test_a_session_that_is_made_late_reads_adds_edits_and_deletes(connection: sa.Connection) -> None:
    late = LateSession(connection)
    assert late.is_active
    assert late.asked

    one = late.scalars(sa.select(Thing)).one()
    one.name = "first"
    two = Thing(id=2, name="two")
    late.add(two)
    late.flush()

    assert object_session(one) is object_session(two) is late
    assert connection.execute(sa.text("SELECT name FROM things ORDER BY id")).scalars().all() == ["first", "two"]
    late.delete(two)
    late.commit()
    assert connection.execute(sa.text("SELECT name FROM things")).scalars().all() == ["first"]
    late.close()


@canary("guarded_session.py", to="see what statements have changed in rows that were read before")
def test_a_session_that_is_made_late_reads_rows_anew(connection: sa.Connection) -> None:
    late = LateSession(connection)
    assert late.is_active
    one = late.scalars(sa.select(Thing)).one()
    connection.execute(sa.text("UPDATE things SET name = 'changed'"))

    assert late.scalars(sa.select(Thing)).one() is one
    assert one.name == "changed"
    late.close()


@canary("guarded_session.py", to="ask whether a unit of work can be used, and to become a session by that")
def test_whether_a_session_is_active_is_told_by_what_it_keeps(connection: sa.Connection) -> None:
    late = LateSession(connection)

    assert late.is_active
    assert late.asked


@canary("models/views.py", "services/rule_revisions.py", to="look at rows before they are written")
def test_a_session_that_is_made_late_hears_what_its_class_listens_for(connection: sa.Connection) -> None:
    class Listening(LateSession):
        pass

    heard: list[object] = []
    event.listen(Listening, "before_flush", lambda session, *_: heard.extend([*session.new, session._flushing]))
    late: Any = Listening(connection)
    assert late.is_active
    two = Thing(id=2, name="two")
    late.add(two)
    late.flush()

    assert heard == [two, True]
    late.close()


@canary("guarded_session.py", "unit_of_work.py", to="have names of its own beside a session's")
def test_a_session_has_no_name_that_units_of_work_have_for_something_else() -> None:
    ours = names_defined_in("guarded_session.py", "unit_of_work.py")
    meant = {
        *("exec", "execute", "scalars", "scalar", "flush", "refresh", "get_bind", "begin", "begin_nested", "commit"),
        *("rollback", "close", "reset", "invalidate", "identity_map", "_new", "_deleted", "bind", "hash_key"),
        *("__init__", "__getattr__", "session_id"),
    }

    taken = (ours - meant) & {*dir(orm.Session), *vars(orm.Session())}
    assert taken == set(), f"SQLAlchemy uses {sorted(taken)} now"


# --- what a session calls --------------------------------------------------------------------------------------


class EndedError(Exception):
    pass


class EndedSession(orm.Session):
    def get_bind(self, *_: Any, **__: Any) -> Any:
        raise EndedError


@canary("guarded_session.py", to="refuse whatever a unit of work that has ended would send")
def test_a_session_asks_for_its_bind_before_it_sends_anything(session: Any, connection: sa.Connection) -> None:
    one = session.get(Thing, 1)
    session.expunge(one)
    ended = EndedSession(connection)
    ended.identity_map.add(sa.inspect(one))
    sa.inspect(one).session_id = ended.hash_key
    statement = sa.text("SELECT 1")
    sending: dict[str, Any] = {
        "execute": lambda: ended.execute(statement),
        "scalars": lambda: ended.scalars(statement),
        "scalar": lambda: ended.scalar(statement),
        "get": lambda: ended.get(Thing, 2),
        "get_one": lambda: ended.get_one(Thing, 2),
        "merge": lambda: ended.merge(Thing(id=2, name="two")),
        "refresh": lambda: ended.refresh(one),
        "connection": ended.connection,
        "bulk_insert_mappings": lambda: ended.bulk_insert_mappings(sa.inspect(Thing), [{"id": 3, "name": "three"}]),
    }

    for send in sending.values():
        with pytest.raises(EndedError):
            send()


@canary("guarded_session.py", to="refuse these methods to services, and yet work as a session")
def test_a_session_calls_none_of_its_own_methods_that_begin_or_end_it(connection: sa.Connection) -> None:
    class Refusing(orm.Session):
        def _refuse(self, *_: object, **__: object) -> Any:
            raise RuntimeError("SQLAlchemy called it")

        begin = begin_nested = commit = rollback = close = reset = invalidate = _refuse

    refusing: Any = Refusing(connection, expire_on_commit=False)
    refusing.add(Thing(id=2, name="two"))
    refusing.flush()
    nested = super(Refusing, refusing).begin(nested=True)
    refusing.execute(sa.update(Thing).values(name="lost"))
    nested.rollback()
    nested = super(Refusing, refusing).begin(nested=True)
    refusing.get(Thing, 2).name = "second"
    nested.commit()
    super(Refusing, refusing).commit()
    super(Refusing, refusing).close()

    assert connection.execute(sa.text("SELECT name FROM things ORDER BY id")).scalars().all() == ["one", "second"]


@canary("unit_of_work.py", to="leave edits to the flush that is under way")
def test_a_session_says_while_it_flushes(session: Any) -> None:
    seen = []
    event.listen(session, "before_flush", lambda each, *_: seen.append(each._flushing))
    session.add(Thing(id=2, name="two"))
    assert not session._flushing
    session.flush()

    assert seen == [True]
    assert not session._flushing


@canary("unit_of_work.py", to="see whether there is anything to write before a hot statement")
def test_edits_are_in_new_in_deleted_or_among_the_modified_until_they_are_flushed(session: Any) -> None:
    def edits() -> tuple[int, int, int]:
        return len(session._new), len(session._deleted), len(session.identity_map._modified)

    one = session.get(Thing, 1)
    assert edits() == (0, 0, 0)
    session.add(two := Thing(id=2, name="two"))
    assert edits() == (1, 0, 0)
    one.name = "first"
    assert edits() == (1, 0, 1)
    session.flush()
    assert edits() == (0, 0, 0)
    session.delete(two)
    assert edits() == (0, 1, 0)
    session.flush()
    assert edits() == (0, 0, 0)


@canary("unit_of_work.py", to="commit by itself where the session was not used")
def test_a_session_has_a_transaction_only_once_it_was_used(session: Any) -> None:
    assert session._transaction is None
    session.execute(sa.text("SELECT 1"))
    assert session._transaction is not None
    session.commit()
    assert session._transaction is None


@canary("unit_of_work.py", to="send a savepoint before any statement that goes past the session")
def test_a_nested_transaction_is_sent_when_its_connection_is_asked_for(session: Any, connection: sa.Connection) -> None:
    sent: list[str] = []
    event.listen(connection, "savepoint", lambda _connection, name: sent.append(name))
    session.connection()
    nested = session.begin(nested=True)
    session.connection()

    assert len(sent) == 1
    nested.rollback()


@canary("unit_of_work.py", to="read rows anew that a savepoint's rollback has made unreadable")
def test_a_savepoint_that_is_undone_expires_the_rows_of_its_session(session: Any) -> None:
    one = session.get(Thing, 1)
    nested = session.begin(nested=True)
    one.name = "lost"
    nested.rollback()

    assert sa.inspect(one).expired
    session.refresh(one)
    assert not sa.inspect(one).expired


# --- the states of rows ----------------------------------------------------------------------------------------


def adopted(session: Any, row: Thing) -> Any:
    """Put a row that is in the database into a session, as a loader does; return its state."""
    state: Any = attributes.instance_state(row)
    state.key = (Thing, (row.id,), None)
    state._commit_all(state.dict, session.identity_map)
    session.identity_map.add(state)
    state.session_id = session.hash_key
    return state


@canary("guarded_session.py", "unit_of_work.py", to="have the rows of hot statements in its session")
def test_a_row_whose_state_is_put_into_the_identity_map_is_one_of_the_session(session: Any) -> None:
    row = Thing(id=1, name="one")
    state = adopted(session, row)

    assert object_session(row) == session
    assert session.identity_map.get(state.key) is row
    assert session.identity_map.all_states() == [state]
    assert session.get(Thing, 1) is row
    row.name = "edited"
    assert list(session.dirty) == [row]
    session.flush()
    assert session.connection().execute(sa.text("SELECT name FROM things")).scalar_one() == "edited"


@canary("guarded_session.py", to="show the present values of a row that was read again")
def test_committing_a_state_forgets_its_edits(session: Any) -> None:
    one = session.get(Thing, 1)
    one.name = "edited"
    state = attributes.instance_state(one)
    state._commit_all(state.dict, session.identity_map)

    assert not state.modified
    assert not session.identity_map._modified
    assert not session.dirty
    assert one.name == "edited"


@canary("guarded_session.py", to="have a row go with the savepoint in which a hot statement wrote it")
def test_a_row_that_is_new_in_a_transaction_leaves_the_session_when_that_is_undone(session: Any) -> None:
    nested = session.begin(nested=True)
    row = Thing(id=2, name="two")
    state = adopted(session, row)
    session._transaction._new[state] = True
    nested.rollback()

    assert object_session(row) is None
    assert sa.inspect(row).transient


@canary("guarded_session.py", to="have a row in the unit of work when its savepoint was committed")
def test_a_row_that_is_new_in_a_savepoint_stays_when_that_is_committed(session: Any) -> None:
    nested = session.begin(nested=True)
    row = Thing(id=2, name="two")
    session._transaction._new[adopted(session, row)] = True
    nested.commit()

    assert object_session(row) is session


@canary("unit_of_work.py", to="let rows go when a unit of work ends that was no session in earnest")
def test_a_state_without_the_number_of_a_session_is_detached(session: Any) -> None:
    one = session.get(Thing, 1)
    state = attributes.instance_state(one)
    assert state.session_id == session.hash_key
    state.session_id = None

    assert sa.inspect(one).detached
    assert object_session(one) is None


@canary("guarded_session.py", to="keep no row that nobody else has")
def test_an_identity_map_holds_its_rows_weakly(session: Any) -> None:
    row = Thing(id=1, name="one")
    seen = weakref.ref(row)
    state = adopted(session, row)
    del row, state
    gc.collect()

    assert seen() is None
    assert len(session.identity_map) == 0


@canary("hot_rows.py", to="give a row its state late, and to know a row by its identity")
def test_the_key_of_a_state_is_class_and_primary_key_and_token(session: Any) -> None:
    one = session.get(Thing, 1)

    assert attributes.instance_state(one).key == (Thing, (1,), None)


@canary("hot_rows.py", to="give a row its state late")
def test_a_state_can_be_made_of_a_row_and_its_class_manager() -> None:
    from sqlalchemy.orm.state import InstanceState

    row = object.__new__(Thing)
    vars(row).update(id=1, name="one")
    state = InstanceState(row, sa.inspect(Thing).class_manager)
    state.key = (Thing, (1,), None)
    vars(row)["_sa_instance_state"] = state

    assert attributes.instance_state(row) is state
    assert sa.inspect(row).detached
    assert state.dict is vars(row)
    assert not state.modified
    row.name = "edited"
    assert state.modified
    assert sa.inspect(row).attrs.name.history.deleted == ["one"]


class LateState:
    """Gives an object its state when it is asked for, as hot_rows.py does."""

    def __init__(self) -> None:
        self.asked = 0

    def __get__(self, row: Any, owner: type[Any]) -> Any:
        if row is None:
            return self
        self.asked += 1
        if "id" not in vars(row):
            raise AttributeError("_sa_instance_state")
        state: Any = orm.state.InstanceState(row, sa.inspect(owner).class_manager)
        state.key = (owner, (row.id,), None)
        vars(row)["_sa_instance_state"] = state
        return state


def with_late_state() -> tuple[type[Any], LateState]:
    class Other(orm.DeclarativeBase):
        pass

    class Late(Other):
        __tablename__ = "late"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str]

    orm.configure_mappers()
    late = LateState()
    type.__setattr__(Late, "_sa_instance_state", late)
    return Late, late


@canary("hot_rows.py", to="read rows without a state, at a fraction of the cost")
def test_an_attribute_that_is_in_the_dictionary_is_read_without_the_state() -> None:
    late_class, late = with_late_state()
    row = object.__new__(late_class)
    vars(row).update(id=1, name="one")

    assert (row.id, row.name) == (1, "one")
    assert late.asked == 0


@canary("hot_rows.py", to="give a row its state late")
def test_a_state_that_its_class_gives_late_is_asked_for_once() -> None:
    late_class, late = with_late_state()
    row = object.__new__(late_class)
    vars(row).update(id=1, name="one")
    row.name = "edited"

    assert late.asked == 1
    assert sa.inspect(row).modified
    assert attributes.instance_state(row) is vars(row)["_sa_instance_state"]
    assert late.asked == 1


@canary("hot_rows.py", to="leave rows to SQLAlchemy that are made in the usual way")
def test_an_object_that_is_made_in_the_usual_way_gets_its_state_where_its_class_gives_states_late() -> None:
    late_class, late = with_late_state()

    assert sa.inspect(late_class(id=1, name="one")).transient
    assert late.asked > 0


@canary("hot_rows.py", to="leave rows to SQLAlchemy that a query returns")
def test_a_row_that_is_loaded_gets_its_state_where_its_class_gives_states_late() -> None:
    late_class, _ = with_late_state()
    engine = sa.create_engine("sqlite://")
    with orm.Session(engine) as session:
        late_class.metadata.create_all(session.connection())
        session.execute(sa.insert(late_class).values(id=1, name="one"))
        row = session.scalars(sa.select(late_class)).one()
        assert sa.inspect(row).persistent
        assert row.name == "one"
    engine.dispose()


@canary("hot_rows.py", to="know the columns of a table class by their attributes")
def test_a_mapper_tells_the_attribute_of_a_column() -> None:
    mapper = sa.inspect(Thing)

    attribute_of = {column.key: mapper.get_property_by_column(column).key for column in mapper.local_table.c}
    assert attribute_of == {"id": "id", "name": "name"}
    assert [column.key for column in mapper.primary_key] == ["id"]
    (column,) = mapper.get_property("name").columns
    assert column is Thing.__table__.c.name


@canary("services/rule_firing.py", to="show what a statement wrote without writing it again")
def test_a_value_that_is_set_as_committed_is_no_edit(session: Any) -> None:
    one = session.get(Thing, 1)
    attributes.set_committed_value(one, "name", "set")

    assert one.name == "set"
    assert not session.dirty
