"""The triggers that SQLite has on tickets: what a raw insert leaves out is filled in, and what cannot be is refused.

A ticket's ``next_stage`` follows from its ``execution_plan`` and ``last_completed_stage``, which no CHECK can say. On
PostgreSQL one function does the same; migration 0005 has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["TRIGGERS"]

_EXPECTED: Final = """
CASE
  WHEN NEW.closed_at IS NOT NULL THEN NULL
  WHEN NEW.last_completed_stage = 'Planned' THEN json_extract(NEW.execution_plan, '$[0]')
  ELSE (
    SELECT following.value
    FROM json_each(NEW.execution_plan) AS done
    JOIN json_each(NEW.execution_plan) AS following ON following.key = done.key + 1
    WHERE done.value = NEW.last_completed_stage
  )
END"""

_IS_SOUND: Final = f"""
CASE WHEN json_valid(NEW.execution_plan) THEN
  json_type(NEW.execution_plan) = 'array'
  AND json_array_length(NEW.execution_plan) > 0
  AND NOT EXISTS (
    SELECT 1 FROM json_each(NEW.execution_plan) GROUP BY value
    HAVING count(*) > 1 OR max(type <> 'text') OR value IN ('', 'Planned')
  )
  AND (
    NEW.last_completed_stage = 'Planned'
    OR NEW.last_completed_stage IN (SELECT value FROM json_each(NEW.execution_plan))
  )
  AND NEW.next_stage IS ({_EXPECTED})
ELSE 0 END"""  # noqa: S608 - no value from outside

_REFUSE: Final = "SELECT RAISE(ABORT, 'CHECK constraint failed: ck_tickets_next_stage');"

_FILL_IN: Final = f"""
CREATE TRIGGER tickets_fill_in_next_stage AFTER INSERT ON tickets WHEN NEW.next_stage = ''
BEGIN UPDATE tickets SET next_stage = ({_EXPECTED}) WHERE ticket_id = NEW.ticket_id; END"""  # noqa: S608 - likewise

_CHECK_NEW: Final = f"""
CREATE TRIGGER tickets_check_new_next_stage AFTER INSERT ON tickets
WHEN NEW.next_stage IS NOT '' AND NOT ({_IS_SOUND})
BEGIN {_REFUSE} END"""

_CHECK_CHANGED: Final = f"""
CREATE TRIGGER tickets_check_next_stage
AFTER UPDATE OF execution_plan, last_completed_stage, next_stage, closed_at ON tickets
WHEN NOT ({_IS_SOUND})
BEGIN {_REFUSE} END"""

TRIGGERS: Final[Mapping[str, str]] = {
    statement.split()[2]: statement for statement in (_FILL_IN, _CHECK_NEW, _CHECK_CHANGED)
}
"""The statement that makes each trigger, by its name."""
