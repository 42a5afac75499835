"""Every private or fragile name that the package uses of its libraries, by module, with the canary that watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.canaries import test_aiosqlite as aiosqlite
from tests.canaries import test_mido as mido
from tests.canaries import test_psycopg as psycopg
from tests.canaries import test_pydantic as pydantic
from tests.canaries import test_sqlalchemy_core as core
from tests.canaries import test_sqlalchemy_orm as orm
from tests.canaries import test_sqlite3 as sqlite3
from tests.canaries import test_system as system
from tests.canaries import test_typer as typer

Test = Callable[..., None]

RELIANCES: Final[Mapping[str, Mapping[str, Test]]] = {
    "guarded_session.py": {
        "InstanceState": orm.test_a_row_whose_state_is_put_into_the_identity_map_is_one_of_the_session,
        "_WeakInstanceDict": orm.test_the_identity_map_of_a_session_is_a_weak_instance_dict_that_takes_no_arguments,
        "_commit_all": orm.test_committing_a_state_forgets_its_edits,
        "_deleted": orm.test_identity_map_and_new_and_deleted_are_all_that_changes_of_what_a_session_keeps,
        "_new": orm.test_identity_map_and_new_and_deleted_are_all_that_changes_of_what_a_session_keeps,
        "_new_sessionid": orm.test_open_sessions_are_kept_by_numbers_that_are_never_given_twice,
        "_sessions": orm.test_open_sessions_are_kept_by_numbers_that_are_never_given_twice,
        "_transaction": orm.test_a_row_that_is_new_in_a_transaction_leaves_the_session_when_that_is_undone,
        "hash_key": orm.test_open_sessions_are_kept_by_numbers_that_are_never_given_twice,
        "identity_map": orm.test_a_row_whose_state_is_put_into_the_identity_map_is_one_of_the_session,
        "instance_state": orm.test_committing_a_state_forgets_its_edits,
    },
    "async_unit_of_work.py": {
        "greenlet_spawn": core.test_plain_code_in_a_greenlet_can_await,
    },
    "unit_of_work.py": {
        "_deleted": orm.test_edits_are_in_new_in_deleted_or_among_the_modified_until_they_are_flushed,
        "_flushing": orm.test_a_session_says_while_it_flushes,
        "_modified": orm.test_edits_are_in_new_in_deleted_or_among_the_modified_until_they_are_flushed,
        "_new": orm.test_edits_are_in_new_in_deleted_or_among_the_modified_until_they_are_flushed,
        "_transaction": orm.test_a_session_has_a_transaction_only_once_it_was_used,
        "all_states": orm.test_a_row_whose_state_is_put_into_the_identity_map_is_one_of_the_session,
        "identity_map": orm.test_edits_are_in_new_in_deleted_or_among_the_modified_until_they_are_flushed,
        "instance_state": orm.test_a_row_whose_state_is_put_into_the_identity_map_is_one_of_the_session,
        "lastrowid": core.test_a_result_tells_the_row_number_of_an_insert_and_how_many_rows_changed,
    },
    "hot_rows.py": {
        "InstanceState": orm.test_a_state_can_be_made_of_a_row_and_its_class_manager,
        "__pydantic_extra__": pydantic.test_a_model_keeps_three_things_beside_its_values,
        "__pydantic_fields_set__": pydantic.test_the_fields_that_were_set_are_in_a_slot,
        "__pydantic_private__": pydantic.test_a_model_keeps_three_things_beside_its_values,
        "_sa_instance_state": orm.test_a_state_that_its_class_gives_late_is_asked_for_once,
        "autoincrement_column": core.test_a_table_tells_the_column_that_the_database_numbers,
        "class_manager": orm.test_a_state_can_be_made_of_a_row_and_its_class_manager,
        "get_property_by_column": orm.test_a_mapper_tells_the_attribute_of_a_column,
        "modified": orm.test_a_state_can_be_made_of_a_row_and_its_class_manager,
    },
    "services/rule_firing.py": {
        "set_committed_value": orm.test_a_value_that_is_set_as_committed_is_no_edit,
    },
    "hot.py": {
        "bind_names": core.test_a_compiled_statement_tells_its_parameters_by_name_and_which_of_them_have_values,
        "bind_processor": core.test_the_implementation_of_a_type_for_a_dialect_is_what_reads_and_writes,
        "dialect_impl": core.test_the_implementation_of_a_type_for_a_dialect_is_what_reads_and_writes,
        "exported_columns": core.test_a_statement_tells_the_columns_of_its_rows,
        "positional": core.test_a_compiled_statement_of_psycopg_has_its_values_by_name,
        "positiontup": core.test_a_compiled_statement_of_sqlite_tells_its_values_in_their_places,
        "result_processor": core.test_the_types_of_the_store_need_no_description_of_a_row_to_be_read,
        "self_group": core.test_an_element_that_groups_itself_stands_as_it_is_in_a_condition,
    },
    "hot_insert.py": {
        "autoincrement_column": core.test_a_table_tells_the_column_that_the_database_numbers,
    },
    "columns.py": {
        "bind_processor": (
            core.test_the_jsonb_of_a_dialect_writes_values_as_psycopgs_jsonb_and_leaves_reading_to_psycopg
        ),
        "result_processor": core.test_a_type_that_overrides_result_processor_reads_by_it,
    },
    "engine.py": {
        "checkedout": core.test_a_queue_pool_tells_how_many_connections_it_has_given_out,
    },
    "pg_dump.py": {
        "create_connect_args": core.test_a_dialect_turns_a_url_into_the_words_of_libpq,
    },
    "kept.py": {
        "dispatch": core.test_an_engine_tells_whether_anybody_listens_to_its_statements,
        "do_ping": psycopg.test_a_connection_of_sqlalchemy_has_the_methods_of_a_driver,
        "execute_fetchall": aiosqlite.test_execute_fetchall_returns_the_rows_of_a_statement,
        "execute_insert": aiosqlite.test_execute_insert_returns_the_key_of_the_new_row_alone,
        "is_disconnect": psycopg.test_a_dialect_calls_a_connection_lost_that_is_closed_when_an_error_comes,
        "lastrowid": sqlite3.test_the_last_row_is_the_key_that_an_insert_was_given,
        "loaded_dbapi": psycopg.test_the_psycopg_module_of_a_dialect_has_the_error_classes,
        "pgconn": psycopg.test_a_socket_can_be_read_once_the_server_has_ended_the_connection,
        "run_async": aiosqlite.test_a_connection_of_sqlalchemy_runs_coroutines_of_the_driver,
        "transaction_status": psycopg.test_the_status_of_a_transaction_is_a_number_of_libpq,
    },
    "driver_errors.py": {
        "diag": psycopg.test_an_error_tells_the_constraint_and_the_column_and_its_state,
        "interrupt": aiosqlite.test_an_interrupt_does_not_wait_for_the_statement_that_runs,
        "is_disconnect": core.test_a_listener_can_keep_a_connection_that_an_interrupt_would_have_thrown_away,
        "run_async": aiosqlite.test_a_connection_of_sqlalchemy_runs_coroutines_of_the_driver,
        "sqlite_errorname": sqlite3.test_a_unique_constraint_that_fails_is_told_by_table_and_column,
        "sqlstate": psycopg.test_an_error_tells_the_constraint_and_the_column_and_its_state,
        "transaction_status": psycopg.test_ctrl_c_stops_the_statement_at_the_server_and_leaves_the_connection_usable,
    },
    "following.py": {
        "loaded_dbapi": psycopg.test_the_psycopg_module_of_a_dialect_has_the_error_classes,
        "notifies": psycopg.test_a_notification_that_comes_between_two_waits_is_told_by_the_next,
        "run_async": psycopg.test_a_connection_of_sqlalchemy_gives_the_drivers_own,
        "await_": core.test_plain_code_in_a_greenlet_can_await,
    },
    "upkeep/maintenance.py": {
        "add_notice_handler": psycopg.test_a_notice_is_told_to_its_handler_until_that_is_removed,
        "executescript": sqlite3.test_a_script_runs_every_step_of_an_incremental_vacuum,
        "remove_notice_handler": psycopg.test_a_notice_is_told_to_its_handler_until_that_is_removed,
    },
    "restore.py": {
        "lockf": sqlite3.test_sqlite_locks_these_bytes_of_a_file_that_is_open,
        "sqlite_errorname": sqlite3.test_a_file_that_is_not_there_cannot_be_opened,
    },
    "sqlite_file.py": {
        "sqlite_errorname": sqlite3.test_a_file_that_is_no_database_has_a_name_of_its_own,
    },
    "importers/foreign_database.py": {
        "text_factory": sqlite3.test_a_text_factory_is_given_the_bytes_of_a_text,
    },
    "models/documents.py": {
        "_internal": pydantic.test_the_metaclass_of_models_is_where_type_checkers_are_told,
        "_model_construction": pydantic.test_the_metaclass_of_models_is_where_type_checkers_are_told,
    },
    "validation.py": {
        "validator": pydantic.test_the_validator_of_an_adapter_validates_as_the_adapter_does,
    },
    "turns.py": {
        "F_OFD_SETLK": system.test_a_lock_of_an_opened_file_is_packed_like_this,
        "F_OFD_SETLKW": system.test_a_waiter_for_the_lock_of_an_open_file_description_gets_it,
        "fcntl": system.test_a_lock_of_an_opened_file_is_packed_like_this,
        "flock": system.test_two_that_opened_a_file_exclude_each_other_within_one_process,
    },
    "importers/midi.py": {
        "read_byte": mido.test_a_number_is_read_byte_by_byte,
        "read_chunk_header": mido.test_headers_are_read_as_format_and_tracks_and_ticks_and_as_name_and_size,
        "read_file_header": mido.test_headers_are_read_as_format_and_tracks_and_ticks_and_as_name_and_size,
        "read_message": mido.test_the_time_of_any_message_can_be_set,
        "read_meta_message": mido.test_a_meta_message_tells_its_type_and_what_it_holds,
        "read_sysex": mido.test_the_time_of_any_message_can_be_set,
        "read_variable_int": mido.test_a_number_is_read_byte_by_byte,
    },
    "cli/commands.py": {
        "make_context": typer.test_a_command_can_have_another_stand_in_its_place_from_its_context_on,
    },
    "cli/context.py": {
        "__signature__": typer.test_a_command_is_made_by_the_signature_that_a_function_says_it_has,
        "ensure_object": typer.test_the_object_that_is_given_to_main_is_the_contexts,
        "parse_args": typer.test_a_command_decides_as_it_parses_whether_unknown_options_are_arguments,
    },
    "cli/errors.py": {
        "command_path": typer.test_a_line_that_is_not_run_standalone_returns_its_exit_code_and_raises_its_errors,
        "format_message": typer.test_a_line_that_is_not_run_standalone_returns_its_exit_code_and_raises_its_errors,
        "parse_args": typer.test_a_group_finds_that_it_has_no_command_as_it_parses_its_arguments,
    },
}
