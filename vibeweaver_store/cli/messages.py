"""``messages``: list, add and follow what was said in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import (
    LIMIT,
    CreatedAt,
    Cursor,
    Limit,
    OwnId,
    SessionId,
    parse_instant,
    text_or_stdin,
    within,
)
from vibeweaver_store.cli.output import print_made, print_page
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.tail import LINES, Follow, Lines, print_line
from vibeweaver_store.cli.text import instant
from vibeweaver_store.models import Message, MessageRole
from vibeweaver_store.services import messages

group = new_group("messages", "List, add and follow what was said in a session.")

COLUMNS: Final = (
    Column("ID", "dim", right=True),
    Column("AT", "dim"),
    Column("ROLE"),
    Column("INSTANCE", right=True),
    Column("TEXT", narrow="cut"),
)

_STYLES: Final[Mapping[MessageRole, str]] = {
    MessageRole.USER: "bold cyan",
    MessageRole.ASSISTANT: "green",
    MessageRole.SYSTEM: "dim",
}

RoleFilter: TypeAlias = Annotated[
    MessageRole | None,
    typer.Option("--role", metavar="ROLE", help="Only of user, assistant or system.", show_default=False),
]
InstanceFilter: TypeAlias = Annotated[
    int | None, typer.Option("--instance", metavar="N", help="Only of this instance.", show_default=False)
]


@command(group, "list", example='messages list "$SESSION"\nmessages list "$SESSION" --role user --newest-first --json')
def list_(
    cli: Cli,
    session: SessionId,
    *,
    role: RoleFilter = None,
    instance: InstanceFilter = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", metavar="", help="From the end.")] = False,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List a session's conversation, as it went."""
    with cli.store() as store:
        page = store.query(
            within,
            session,
            messages.page,
            limit=limit,
            cursor=cursor,
            role=role,
            instance_id=instance,
            newest_first=newest_first,
        )
    add_one = f'vibeweaver-store messages add {session} user "Hello"'
    print_page(cli, page, COLUMNS, message_cells, none=f"nothing was said here; add: {add_one}")


@command(
    group,
    "add",
    example="""
messages add "$SESSION" user "Make it darker."
messages add "$SESSION" assistant - --instance 0 < reply.md
""",
)
def add(
    cli: Cli,
    session: SessionId,
    role: Annotated[MessageRole, typer.Argument(metavar="ROLE", help="user, assistant or system.", show_default=False)],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is said; - for stdin.", show_default=False)],
    *,
    instance: Annotated[
        int | None, typer.Option("--instance", metavar="N", help="The instance it is of.", show_default=False)
    ] = None,
    public_id: OwnId = None,
    created_at: CreatedAt = None,
    ignore: Annotated[
        bool, typer.Option("--ignore-existing", metavar="", help="Nothing is done where the id is there already.")
    ] = False,
) -> None:
    """Add a message to the end of a session's conversation, and print its id.

    Its place is the end, also when it was said earlier.
    """
    content = text_or_stdin(text)
    at = parse_instant(created_at, option="--created-at")
    with cli.store() as store:
        made = store.run(
            messages.append,
            session,
            role,
            content,
            public_id=public_id,
            instance_id=instance,
            created_at=at,
            if_exists="ignore" if ignore else "error",
        )
    print_made(cli, made, made.public_id)


@command(
    group,
    "tail",
    example="""
messages tail "$SESSION"
messages tail "$SESSION" --follow --role assistant
messages tail "$SESSION" --lines 0 --follow --json
""",
)
def tail(
    cli: Cli,
    session: SessionId,
    *,
    lines: Lines = LINES,
    follow: Follow = False,
    role: RoleFilter = None,
    instance: InstanceFilter = None,
) -> None:
    """Print the end of a session's conversation; with --follow, what any process adds, until Ctrl-C."""
    with cli.store() as store:
        page = store.query(
            within, session, messages.page, limit=max(lines, 1), role=role, instance_id=instance, newest_first=True
        )
        for message in reversed(page.items[:lines]):
            print_line(cli, message, message_cells(message))
        if follow:
            after = page.items[0].id if page.items else 0
            for message in messages.follow(store, session, after=after, role=role, instance_id=instance):
                print_line(cli, message, message_cells(message))


def message_cells(message: Message) -> Sequence[Cell]:
    """Return a message as a row of :data:`COLUMNS`."""
    role = Text(message.role.value, style=_STYLES[message.role])
    of = "" if message.instance_id is None else str(message.instance_id)
    return str(message.id), instant(message.created_at), role, of, message.content
