"""The rules of one session kept in memory, for a sequencer that asks on every tick.

Each answer is preceded by a look at the revision of the session's rules, which changes in every transaction that
touches them; where it has moved, the rules are read again. So a book answers as the database would, whoever changes it.
The first question since a change is answered by the query, and the rules are read at the second: where others change
them all the time, a book costs little more than the query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.columns import Id
from vibeweaver_store.errors import NotFound
from vibeweaver_store.hot_rows import duplicates
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger, TriggerType
from vibeweaver_store.models.weaving import Rule
from vibeweaver_store.services.rule_firing import Fired, Firing, fire_and_tell
from vibeweaver_store.services.rule_lookup import by_trigger, match, parse_signal, sought
from vibeweaver_store.services.rule_revisions import REVISION, revision
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require


class RuleBook:
    """A session's enabled rules by trigger and key, answering as ``rules.match`` and ``rules.fire`` do.

    Make one with :meth:`vibeweaver_store.Store.rule_book`. Threads may share it. Rules are read when they are asked
    for, a kind of trigger at a time.
    """

    def __init__(self, store: Store, session_id: str) -> None:
        self._store = store
        self._copy = _Copy(require(Id, session_id, field="session_id"))

    def match(self, signal: Signal) -> list[Rule]:
        """Return the enabled rules that a signal would fire, by priority, then age. Nothing is counted.

        It looks at what is committed: within a unit of work of your own, ``rules.match`` sees what that has changed.

        Raises:
            InvalidInput: the signal is none of ``signals``.
        """
        return self._matched(parse_signal(signal)) or []

    def _matched(self, signal: Signal) -> list[Rule] | None:
        now = self._store.glance(REVISION, id=self._copy.session_id)
        known = self._copy.answer(now[0][0], signal) if now else None
        return self._store.query(self._copy.match, signal) if known is None else known

    def fire(self, signal: Signal) -> list[Firing]:
        """Fire the rules that a signal matches, in a unit of work of its own; where none does, nothing is written.

        Raises:
            NotFound: there is no such session.
            InvalidInput: the signal is none of ``signals``.
            StoreBusy: this thread is within a unit of work of its own.
        """
        checked = parse_signal(signal)
        if not self._copy.expects(checked) and not self._copy.existing(self._matched(checked)):
            return []
        return self._copy.keep(self._store.run(fire_and_tell, self._copy.session_id, checked))


class AsyncRuleBook:
    """A :class:`RuleBook` for asyncio. Make one with :meth:`vibeweaver_store.AsyncStore.rule_book`."""

    def __init__(self, store: AsyncStore, session_id: str) -> None:
        self._store = store
        self._copy = _Copy(require(Id, session_id, field="session_id"))

    async def match(self, signal: Signal) -> list[Rule]:
        """Return the enabled rules that a signal would fire, as :meth:`RuleBook.match` does.

        Raises:
            InvalidInput: the signal is none of ``signals``.
        """
        return await self._matched(parse_signal(signal)) or []

    async def _matched(self, signal: Signal) -> list[Rule] | None:
        now = await self._store.glance(REVISION, id=self._copy.session_id)
        known = self._copy.answer(now[0][0], signal) if now else None
        return await self._store.query(self._copy.match, signal) if known is None else known

    async def fire(self, signal: Signal) -> list[Firing]:
        """Fire the rules that a signal matches, as :meth:`RuleBook.fire` does.

        Raises:
            NotFound: there is no such session.
            InvalidInput: the signal is none of ``signals``.
            StoreBusy: this task is within a unit of work of its own.
        """
        checked = parse_signal(signal)
        if not self._copy.expects(checked) and not self._copy.existing(await self._matched(checked)):
            return []
        return self._copy.keep(await self._store.run(fire_and_tell, self._copy.session_id, checked))


@dataclass(frozen=True, slots=True)
class _Section:
    """The rules of one kind of trigger: their rows, and in which order each trigger of a key calls them."""

    rows: dict[str, Rule]
    waiting: dict[str | None, list[tuple[int, str, Trigger]]]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> _Section:
        rows: dict[str, Rule] = {}
        waiting: dict[str | None, list[tuple[int, str, Trigger]]] = defaultdict(list)
        for place, rule in enumerate(rules):
            rows[rule.id] = rule
            waiting[rule.trigger_key].append((place, rule.id, rule.trigger))
        return cls(rows, dict(waiting))

    def called(self, keys: Sequence[str | None], signal: Signal) -> list[Rule]:
        """Return the rules that a signal calls, in their order."""
        if len(keys) == 1:
            waiting = self.waiting.get(keys[0], [])
        else:
            waiting = sorted([each for key in set(keys) for each in self.waiting.get(key, [])], key=itemgetter(0))
        rows = self.rows
        # A one-shot that this book has fired is in its order still, and among its rows no more.
        return [rows[rule_id] for _, rule_id, trigger in waiting if rule_id in rows and trigger.matches(signal)]

    def after(self, firings: Iterable[Firing]) -> _Section:
        rows = dict(self.rows)
        for firing in firings:
            del rows[firing.rule.id]
            if firing.rule.enabled:
                (rows[firing.rule.id],) = duplicates([firing.rule])
        return replace(self, rows=rows)

    def has_all(self, firings: Iterable[Firing]) -> bool:
        return all(firing.rule.id in self.rows for firing in firings)


@dataclass(frozen=True, slots=True)
class _Edition:
    """What has been read of a session's rules at one revision, and for which triggers it was asked."""

    revision: int
    sections: dict[TriggerType, _Section] = field(default_factory=dict)
    asked: set[TriggerType] = field(default_factory=set)


class _Copy:
    """The copy that a book keeps.

    Threads need no lock: each goes on with the edition that it has taken. Editions are replaced whole, and to one in
    use is only added what was read at its own revision.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._edition: _Edition | None = None

    def answer(self, revision: int, signal: Signal) -> list[Rule] | None:
        """Return what a signal calls by the rules of a revision, ``None`` where they have not been read."""
        edition = self._edition
        if edition is None or edition.revision != revision:
            return None
        trigger_type, keys = sought(signal)
        section = edition.sections.get(trigger_type)
        return None if section is None else duplicates(section.called(keys, signal))

    def match(self, uow: ReadUnitOfWork, signal: Signal) -> list[Rule] | None:
        """Return what a signal calls, as ``rules.match`` does; ``None`` where there is no such session."""
        now = revision(uow, self.session_id)
        if now is None:
            return None
        edition = self._edition
        if edition is None or edition.revision != now:
            edition = self._edition = _Edition(now)
        trigger_type, keys = sought(signal)
        if (known := self.answer(now, signal)) is not None:
            return known
        # What is read now is in the same snapshot as the revision.
        if trigger_type not in edition.asked:
            edition.asked.add(trigger_type)
            return match(uow, self.session_id, signal)
        section = edition.sections[trigger_type] = _Section.of(by_trigger(uow, self.session_id, trigger_type))
        return duplicates(section.called(keys, signal))

    def expects(self, signal: Signal) -> bool:
        """Say whether a signal would fire anything, as far as the book knows without looking."""
        trigger_type, keys = sought(signal)
        edition = self._edition
        section = edition.sections.get(trigger_type) if edition is not None else None
        return section is not None and bool(section.called(keys, signal))

    def existing(self, matched: list[Rule] | None) -> list[Rule]:
        if matched is None:
            raise NotFound("session", self.session_id)
        return matched

    def keep(self, fired: Fired) -> list[Firing]:
        """Take over what the book itself has fired, so that its rules need not be read again."""
        edition = self._edition
        if edition is None or edition.revision != fired.before:
            self._edition = None  # what it expected may be no more
        elif fired.firings:
            self._edition = _Edition(fired.after, self._with_counts(edition, fired.firings), edition.asked)
        return fired.firings

    def _with_counts(self, edition: _Edition, firings: list[Firing]) -> dict[TriggerType, _Section]:
        trigger_type = firings[0].rule.trigger_type
        sections = dict(edition.sections)
        section = sections.pop(trigger_type, None)
        if section is not None and section.has_all(firings):
            sections[trigger_type] = section.after(firings)
        return sections
