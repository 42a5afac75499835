"""``rules``: add, list, try out, fire, switch and delete them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.notation import ACTIONS, SIGNALS, TRIGGERS
from vibeweaver_store.cli.options import (
    LIMIT,
    Cursor,
    Limit,
    OwnId,
    PriorityName,
    SessionId,
    Yes,
    priority_name,
    within,
)
from vibeweaver_store.cli.output import hint, print_deleted, print_items, print_made, print_page, print_row
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.text import instant, number
from vibeweaver_store.models import Priority, Rule
from vibeweaver_store.services import rules
from vibeweaver_store.services.rules import DueRule, Firing

group = new_group("rules", "Add, list, try, fire, switch and delete rules.")

RuleId: TypeAlias = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.", show_default=False)]
SignalText: TypeAlias = Annotated[
    str,
    typer.Option("--signal", metavar="SIGNAL", help=f"{SIGNALS.examples()}; or JSON.", show_default=False),
]

ON: Final = Column("ON", "cyan", narrow="fold")
DO: Final = Column("DO", narrow="fold")
PRIORITY: Final = Column("PRIORITY")
FIRED: Final = Column("FIRED", "bold", right=True)
_ID: Final = Column("ID", "dim", narrow="below")

_STYLES: Final[Mapping[Priority, str]] = {
    Priority.CRITICAL: "bold red",
    Priority.HIGH: "yellow",
    Priority.NORMAL: "",
    Priority.LOW: "dim",
    Priority.IDLE: "dim",
}


def rule_cells(rule: Rule) -> list[Cell]:
    """Return what a rule waits for, what it does and how urgent it is, for the columns ON, DO and PRIORITY."""
    return [
        TRIGGERS.shown(rule.trigger),
        ACTIONS.shown(rule.action),
        Text(priority_name(rule.priority), style=_STYLES[rule.priority]),
    ]


@command(
    group,
    "add",
    example="""
rules add "$SESSION" --on beat:4 --do notify:"four on the floor"
rules add "$SESSION" --on marker:Chorus --do sample:pads:"lift it" --priority high --one-shot
rules add "$SESSION" --on '{"type": "beat", "divisor": 4}' --do play
""",
)
def add(
    cli: Cli,
    session: SessionId,
    *,
    on: Annotated[str, typer.Option(metavar="TRIGGER", help="What it waits for; see above.", show_default=False)],
    do: Annotated[str, typer.Option(metavar="ACTION", help="What it then asks for; see above.", show_default=False)],
    priority: Annotated[
        PriorityName,
        typer.Option(metavar="LEVEL", help="critical, high, normal, low or idle.", case_sensitive=False),
    ] = "normal",
    one_shot: Annotated[
        bool, typer.Option("--one-shot", metavar="", help="It switches itself off when it has fired.")
    ] = False,
    disabled: Annotated[bool, typer.Option("--disabled", metavar="", help="It does not fire until enabled.")] = False,
    rule_id: OwnId = None,
) -> None:
    """Add a rule to a session, and print its id.

    Triggers: beat:4, marker:Chorus, deadline:64, artifact, artifact:drums,
    job_complete:ID, transport:playing

    Actions: notify:"bar", play, pause, stop, seek:32, sample:drums:"a fill",
    sample_and_schedule:drums@64:"a fill", schedule:HASH@64:8:0.5 (beat,
    duration, gain), audition:HASH:2.5 (seconds)

    Either may be JSON, as rules list --json prints it, also with a type as
    JobComplete. Quotes around what follows the first colon are dropped.
    """
    trigger, action = TRIGGERS.parse(on), ACTIONS.parse(do)
    with cli.store() as store:
        made = store.run(
            rules.add,
            session,
            trigger,
            action,
            priority=Priority[priority.upper()],
            one_shot=one_shot,
            enabled=not disabled,
            rule_id=rule_id,
        )
    print_made(cli, made, made.id)


@command(group, "list", example='rules list "$SESSION"\nrules list "$SESSION" --trigger beat --json')
def list_(
    cli: Cli,
    session: SessionId,
    trigger: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="Only those of a kind: beat, marker, …", show_default=False),
    ] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List a session's rules by priority, then age. What ON and DO show can be given to rules add."""
    with cli.store() as store:
        page = store.query(within, session, rules.page_by_session, trigger_type=trigger, limit=limit, cursor=cursor)
    columns = (ON, DO, PRIORITY, FIRED, Column("STATE", "dim"), _ID)
    add_one = f'vibeweaver-store rules add {session} --on beat:4 --do notify:"bar"'
    print_page(cli, page, columns, _row, none=f"no rules; add one: {add_one}")


@command(group, "show", example='rules show "$RULE"')
def show(cli: Cli, rule: RuleId) -> None:
    """Show one rule."""
    with cli.store() as store:
        found = store.query(rules.get, rule)
    print_row(cli, found, _card)


@command(group, "match", example='rules match "$SESSION" --signal marker:Chorus@64')
def match(cli: Cli, session: SessionId, signal: SignalText) -> None:
    """List the rules that a signal would fire. Nothing is counted."""
    checked = SIGNALS.parse(signal)
    with cli.store() as store:
        found = store.query(within, session, rules.match, checked)
    print_items(cli, found, (ON, DO, PRIORITY, FIRED, _ID), _short_row, none="no rule waits for this signal")


@command(group, "fire", example='rules fire "$SESSION" --signal beat:8')
def fire(cli: Cli, session: SessionId, signal: SignalText) -> None:
    """Fire the rules that a signal matches: count them, write them into history, and list what is to be done."""
    checked = SIGNALS.parse(signal)
    with cli.store() as store:
        fired = store.run(rules.fire, session, checked)

    def row(firing: Firing) -> Sequence[Cell]:
        return _short_row(firing.rule)

    print_items(cli, fired, (ON, DO, PRIORITY, FIRED, _ID), row, none="no rule waits for this signal")


@command(group, "due", example='rules due "$SESSION" --at 48')
def due(
    cli: Cli,
    session: SessionId,
    at: Annotated[float, typer.Option("--at", metavar="BEAT", help="Where the transport is.", show_default=False)],
) -> None:
    """List the deadline rules whose work must start now, the most pressing first."""
    with cli.store() as store, store.read() as uow:
        found = rules.due(uow, session, at)
        following = rules.next_due(uow, session, at)
    columns = (
        Column("START BY", "cyan", right=True),
        Column("DEADLINE", "cyan", right=True),
        Column("ESTIMATE", right=True),
        DO,
        PRIORITY,
        _ID,
    )
    print_items(cli, found, columns, _due_row, none="nothing is due")
    if following is not None:
        hint(f"next due at beat {number(following)}")


@command(group, "enable", example='rules enable "$RULE"')
def enable(cli: Cli, rule: RuleId) -> None:
    """Switch a rule on, and show it."""
    with cli.store() as store:
        print_row(cli, store.run(rules.set_enabled, rule, True), _card)


@command(group, "disable", example='rules disable "$RULE"')
def disable(cli: Cli, rule: RuleId) -> None:
    """Switch a rule off, and show it."""
    with cli.store() as store:
        print_row(cli, store.run(rules.set_enabled, rule, False), _card)


@command(group, "delete", example='rules delete "$RULE" --yes')
def delete(cli: Cli, rule: RuleId, yes: Yes = False) -> None:
    """Delete a rule; what it did stays in history."""
    with cli.store() as store:
        found = store.query(rules.get, rule)
        what = f"--on {TRIGGERS.shown(found.trigger)} --do {ACTIONS.shown(found.action)}"
        confirm(f"Delete the rule {what}?", yes=yes)
        store.run(rules.delete, rule)
    print_deleted(cli, "rule", rule)


def _state(rule: Rule) -> str:
    return f"{'on' if rule.enabled else 'off'}{', one-shot' if rule.one_shot else ''}"


def _short_row(rule: Rule) -> list[Cell]:
    return [*rule_cells(rule), f"{rule.fired_count:,}", rule.id]


def _row(rule: Rule) -> list[Cell]:
    *cells, rule_id = _short_row(rule)
    return [*cells, _state(rule), rule_id]


def _due_row(each: DueRule) -> list[Cell]:
    _, do, priority = rule_cells(each.rule)
    beats = [number(each.start_by_beat), number(each.deadline_beat)]
    return [*beats, f"{number(each.estimate_ms / 1000)} s", do, priority, each.rule.id]


def _card(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "session": rule.session_id,
        "on": TRIGGERS.shown(rule.trigger),
        "do": ACTIONS.shown(rule.action),
        "priority": priority_name(rule.priority),
        "enabled": "yes" if rule.enabled else "no",
        "one-shot": "yes" if rule.one_shot else "no",
        "fired": f"{rule.fired_count:,}",
        "last fired": instant(rule.last_fired_at),
        "created": instant(rule.created_at),
    }
