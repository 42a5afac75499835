"""``rules`` on the line."""

from __future__ import annotations

import shlex

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Priority, Session, Store, actions, history, rules, stats, triggers
from vibeweaver_store.testing import RuleFactory


def test_rules_add_prints_only_the_new_id(line: Line, look: Store, jam: Session) -> None:
    done = line(
        *("rules", "add", "jam", "--on", "marker:Drop", "--do", "notify:four on the floor"),
        *("--priority", "high", "--one-shot", "--disabled"),
    )

    made = look.query(rules.get, done.out.strip())
    assert (done.code, done.out, done.err) == (0, f"{made.id}\n", "")
    assert made.trigger == triggers.Marker(name="Drop")
    assert made.action == actions.Notify(message="four on the floor")
    assert (made.priority, made.one_shot, made.enabled) == (Priority.HIGH, True, False)


def test_rules_add_takes_json_and_prints_the_columns_as_json(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    on, do = '{"type": "beat", "divisor": 4}', '{"type": "seek", "beat": 2}'
    document = line_on_both("rules", "add", "jam", "--on", on, "--do", do, "--id", "mine", "--json").document

    assert document.pop("created_at").endswith("Z")
    assert document == {
        "id": "mine",
        "session_id": "jam",
        "trigger_type": "beat",
        "trigger_key": None,
        "trigger": {"type": "beat", "divisor": 4},
        "action_type": "seek",
        "action": {"type": "seek", "beat": 2.0},
        "priority": 2,
        "enabled": True,
        "one_shot": False,
        "fired_count": 0,
        "last_fired_at": None,
    }


@pytest.mark.parametrize(
    ("on", "do", "told"),
    [
        ("bet:4", "play", "trigger 'bet:4': there is no 'bet'; did you mean beat:4?"),
        ("beat:4", "seek:x", "action 'seek:x': the beat must be a number (got 'x'); write it like seek:32"),
    ],
)
def test_rules_add_refuses_invalid_notation(
    line: Line, look: Store, jam: Session, *, on: str, do: str, told: str
) -> None:
    done = line("rules", "add", "jam", "--on", on, "--do", do)

    assert (done.code, done.error) == (4, told)
    assert len(look.query(rules.page_by_session, "jam").items) == 1


def test_rules_list_is_sorted_by_priority(line: Line, look: Store, jam: Session) -> None:
    with look.begin() as uow:
        RuleFactory.create(uow=uow, session_id="jam", id="first", priority=Priority.CRITICAL, one_shot=True)
        RuleFactory.create(uow=uow, session_id="jam", id="last", priority=Priority.IDLE, enabled=False)
    done = line("rules", "list", "jam")

    title, *rows = done.out.splitlines()
    assert title.split() == ["ON", "DO", "PRIORITY", "FIRED", "STATE", "ID"]
    assert [row.split()[-1] for row in rows] == ["first", "bars", "last"]
    assert "critical" in rows[0]
    assert "on, one-shot" in rows[0]
    assert " off " in rows[2]


def test_rules_list_output_can_be_given_to_rules_add(line: Line, look: Store, jam: Session) -> None:
    trigger, action = triggers.Marker(name="it's 5 o'clock"), actions.Sample(space="pads", prompt='$5 "deep"')
    look.run(rules.add, jam.id, trigger, action, priority=Priority.CRITICAL)
    shown = line("rules", "list", "jam").out.splitlines()[1].partition("critical")[0]
    on, do = shlex.split(shown)

    made = line("rules", "add", "jam", "--on", on, "--do", do).out.strip()

    assert look.query(rules.get, made).trigger == trigger
    assert look.query(rules.get, made).action == action


def test_rules_list_of_one_trigger_shows_no_other(line: Line, look: Store, jam: Session) -> None:
    look.run(rules.add, jam.id, triggers.Marker(name="Drop"), actions.Play())

    assert [each["id"] for each in line("rules", "list", "jam", "--trigger", "beat", "--json").documents] == ["bars"]


def test_rules_list_of_one_trigger_continues_from_its_cursor(line: Line, look: Store, jam: Session) -> None:
    look.run(rules.add, jam.id, triggers.Marker(name="Drop"), actions.Play())
    look.run(rules.add, jam.id, triggers.Beat(divisor=3), actions.Play(), rule_id="waltz")
    first = line("rules", "list", "jam", "--trigger", "beat", "--limit", 1, "--json")
    cursor = first.err.removeprefix("next cursor: ").strip()

    second = line("rules", "list", "jam", "--trigger", "beat", "--cursor", cursor, "--json")

    assert [each["id"] for each in first.documents + second.documents] == ["bars", "waltz"]


def test_rules_list_of_an_unknown_trigger_is_refused(line: Line, jam: Session) -> None:
    done = line("rules", "list", "jam", "--trigger", "bet")

    assert done.code == 4
    assert "beat, marker" in done.error


@pytest.mark.parametrize(
    "words",
    [
        ["list", "nobody"],
        ["list", "nobody", "--trigger", "beat"],
        ["add", "nobody", "--on", "beat:4", "--do", "play"],
        ["match", "nobody", "--signal", "beat:4"],
        ["fire", "nobody", "--signal", "beat:4"],
        ["due", "nobody", "--at", "4"],
    ],
    ids=" ".join,
)
def test_rules_commands_on_a_missing_session_exit_3(line: Line, words: list[str]) -> None:
    done = line("rules", *words)

    assert (done.code, done.error) == (3, "no session 'nobody'")


@pytest.mark.parametrize("command", ["show", "enable", "disable", "delete"])
def test_rules_commands_on_a_missing_rule_exit_3(line: Line, command: str) -> None:
    done = line("rules", command, "nothing")

    assert (done.code, done.error) == (3, "no rule 'nothing'")


def test_rules_show_prints_a_card(line: Line, jam: Session) -> None:
    out = line("rules", "show", "bars").out

    assert "on          beat:4\n" in out
    assert "last fired  —\n" in out


def test_rules_match_lists_rules_a_signal_would_fire_without_counting(line: Line, look: Store, jam: Session) -> None:
    done = line("rules", "match", "jam", "--signal", "beat:8", "--json")

    assert [each["id"] for each in done.documents] == ["bars"]
    assert look.query(rules.get, "bars").fired_count == 0


def test_rules_match_without_matches_says_so_on_stderr(line: Line, jam: Session) -> None:
    done = line("rules", "match", "jam", "--signal", "beat:7")

    assert (done.code, done.out, done.err) == (0, "", "no rule waits for this signal\n")


def test_rules_fire_counts_and_lists_the_actions(line: Line, look: Store, jam: Session) -> None:
    done = line("rules", "fire", "jam", "--signal", '{"type": "beat_tick", "beat": 8}')

    assert done.code == 0
    assert done.out.splitlines()[1].startswith("beat:4")
    assert look.query(rules.get, "bars").fired_count == 1
    assert look.query(history.count, "jam", action="rule.fired") == 1


def test_rules_fire_prints_a_firing_per_line_as_json(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    line_on_both("rules", "add", "jam", "--on", "artifact", "--do", "play", "--id", "mine")
    (firing,) = line_on_both("rules", "fire", "jam", "--signal", "artifact:drums,loop", "--json").documents

    assert (firing["rule"]["id"], firing["rule"]["fired_count"]) == ("mine", 1)
    assert firing["signal"] == {"type": "artifact_created", "tags": ["drums", "loop"]}
    assert firing["fired_at"] == firing["rule"]["last_fired_at"]


def test_rules_due_lists_rules_that_must_start_now(line: Line, look: Store, jam: Session) -> None:
    look.run(stats.record, "pads", 1000)
    rule = look.run(rules.add, jam.id, triggers.Deadline(beat=8), actions.Sample(space="pads"))
    (due,) = line("rules", "due", "jam", "--at", "6", "--json").documents

    assert due.pop("rule")["id"] == rule.id
    assert due == {"deadline_beat": 8.0, "start_by_beat": 6.0, "estimate_ms": 1000.0}


def test_rules_due_says_on_stderr_when_to_look_again(line: Line, look: Store, jam: Session) -> None:
    look.run(rules.add, jam.id, triggers.Deadline(beat=8), actions.Play())
    done = line("rules", "due", "jam", "--at", "6")

    assert (done.code, done.out, done.err) == (0, "", "nothing is due\nnext due at beat 8\n")


@pytest.mark.parametrize(("command", "enabled"), [("disable", False), ("enable", True)])
def test_rules_enable_and_disable_switch_a_rule(
    line: Line, look: Store, jam: Session, command: str, enabled: bool
) -> None:
    look.run(rules.set_enabled, "bars", not enabled)

    assert line("rules", command, "bars", "--json").document["enabled"] is enabled
    assert look.query(rules.get, "bars").enabled is enabled


def test_rules_delete_deletes_a_rule(line: Line, look: Store, jam: Session) -> None:
    done = line("rules", "delete", "bars", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted rule bars\n")
    assert look.query(rules.find, "bars") is None


def test_rules_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, jam: Session) -> None:
    done = line("rules", "delete", "bars")

    assert done.code == 2
    assert "--on beat:4 --do notify:" in done.error
    assert look.query(rules.find, "bars") is not None
