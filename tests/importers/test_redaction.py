"""Redaction: what is a secret by its shape or by its place is struck out and counted, and nothing else is touched."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibeweaver_store.importers.redaction import REDACTED, redact

BEGIN = "-----BEGIN {} " + "KEY-----\n"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# None of them was ever valid; put together here, so that no scanner takes this file for a leak.
TOKENS = {
    "anthropic": "sk-" + "ant-api03-" + LETTERS,
    "openai": "sk-" + "proj-" + LETTERS,
    "openai of old": "sk-" + LETTERS,
    "github": "ghp" + "_" + LETTERS,
    "github app": "ghs" + "_" + LETTERS,
    "github fine-grained": "github" + "_pat_" + LETTERS,
    "gitlab": "glpat" + "-" + LETTERS,
    "aws": "AKIA" + "ABCDEFGHIJ234567",
    "aws session": "ASIA" + "ABCDEFGHIJ234567",
    "google": "AIza" + (LETTERS + LETTERS)[:35],
    "slack bot": "xoxb" + "-123456789012-" + LETTERS,
    "slack person": "xoxp" + "-123456789012-" + LETTERS,
    "web token": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxIn0." + LETTERS,
    "private key": f"{BEGIN.format('RSA PRIVATE')}MIIE{LETTERS}\n{LETTERS}==\n-----END RSA PRIVATE {'KEY'}-----",
    "numbered private key": f"{BEGIN.format('PRIVATE')}     2→MIIE{LETTERS}\n     3→{LETTERS}",
    "encrypted private key": f"{BEGIN.format('EC PRIVATE')}Proc-Type: 4,ENCRYPTED\n\nMIIE{LETTERS}\n",
}


def as_read(document: Any) -> tuple[Any, int]:
    """Redact a document as the importers do: with the bytes that it was read from."""
    return redact(document, orjson.dumps(document))


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "text", ["{}", "export KEY={}", 'key: "{}";', "the key is {}\nand so on", "https://x/?k={}&y=1"]
)
def test_a_token_is_struck_out_wherever_it_stands(token: str, text: str) -> None:
    kept, count = as_read({"message": {"content": [{"type": "text", "text": text.format(token)}]}})

    left = kept["message"]["content"][0]["text"]
    assert count == 1
    assert REDACTED in left
    assert LETTERS[:12] not in left
    assert "ABCDEFGHIJ" not in left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefgh12345678", "Authorization: [redacted]"),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", "authorization: [redacted]"),
        ("-H 'Authorization: token0123456789'", "-H 'Authorization: [redacted]'"),
        ('{"Authorization": "Bearer abcdefgh12345678"}', '{"Authorization": "[redacted]"}'),
        (r"{\"Authorization\": \"Bearer abcdefgh12345678\"}", r"{\"Authorization\": \"[redacted]\"}"),
        ("curl -H 'x-api-key: 0123456789abcdef' url", "curl -H 'x-api-key: [redacted]' url"),
        ("ANTHROPIC_API_KEY=0123456789abcdef", "ANTHROPIC_API_KEY=[redacted]"),
        ('apiKey: "0123456789abcdef"', 'apiKey: "[redacted]"'),
        ("Cookie: session=0123456789; theme=dark", "Cookie: [redacted]"),
        ("set-cookie: sid=abcdefghijk; Path=/", "set-cookie: [redacted]"),
        ("anthropic-organization-id: 7f9c0b1e-0d3b-4f6a-9a51", "anthropic-organization-id: [redacted]"),
        ('"organization_uuid":"7f9c0b1e-0d3b-4f6a-9a51"', '"organization_uuid":"[redacted]"'),
        ("sent as bearer abcdefgh12345678 to", "sent as bearer [redacted] to"),
    ],
)
def test_what_stands_behind_a_name_in_a_text_is_struck_out_and_the_name_stays(text: str, left: str) -> None:
    assert as_read({"text": text}) == ({"text": left}, 1)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "x-api-key", "api_key"),
        *("apiKey", "access_token", "refreshToken", "client_secret", "anthropic-organization-id", "organization_uuid"),
        *("organizationUuid", "openai-organization"),
    ],
)
def test_what_is_called_a_secret_is_struck_out_whatever_it_looks_like(name: str) -> None:
    assert as_read({"deep": [{name: "plain", "other": "plain"}]}) == ({"deep": [{name: REDACTED, "other": "plain"}]}, 1)
    assert as_read({name: ["one", "two"]}) == ({name: [REDACTED, REDACTED]}, 2)


@pytest.mark.parametrize("name", ["organization_id", "api_key"])
def test_what_is_no_text_behind_such_a_name_stays(name: str) -> None:
    schema = {"properties": {name: {"type": "string", "description": "which one"}, "other": 1}}

    assert as_read(schema) == (schema, 0)
    assert as_read({name: None, "n": 5}) == ({name: None, "n": 5}, 0)
    assert as_read({name: " "}) == ({name: " "}, 0)


def test_every_header_of_an_error_is_struck_out() -> None:
    line = {
        "type": "system",
        "error": {"status": 529, "headers": {"request-id": "req_1", "via": ["a", "b"], "age": 5}, "message": "busy"},
    }

    kept, count = as_read(line)

    assert kept["error"] == {
        "status": 529,
        "message": "busy",
        "headers": {"request-id": REDACTED, "via": [REDACTED, REDACTED], "age": 5},
    }
    assert count == 3


def test_the_name_of_a_member_that_is_a_secret_itself_is_struck_out() -> None:
    assert as_read({TOKENS["anthropic"]: 1}) == ({REDACTED: 1}, 1)


def test_letters_that_were_spelled_out_hide_nothing() -> None:
    raw = orjson.dumps({"text": TOKENS["anthropic"]}).replace(b"sk-", rb"\u0073k\u002d")

    assert redact(orjson.loads(raw), raw) == ({"text": REDACTED}, 1)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: string;",
        "the authorization: implemented with care",
        "const headers = { Authorization: `Bearer ${token}` }",
        "Bearer authentication is required",
        "a task-oriented-approach-with-many-words",
        "risk-management-and-mitigation-plan-for-2026",
        "import cookie from 'cookie'",
        "api_key: str | None = None",
        "AKIA is how they begin",
        "the organization has ids",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "https://example.org/eyJ.png",
    ],
)
def test_what_only_talks_of_secrets_stays(text: str) -> None:
    assert as_read({"text": text}) == ({"text": text}, 0)


def test_what_was_redacted_once_is_not_redacted_again() -> None:
    document = {"text": " ".join(TOKENS.values()), "headers": "Authorization: Bearer abcdefgh12345678", "cookie": "a=b"}
    once, count = as_read(document)

    assert count > len(TOKENS)
    assert as_read(once) == (once, 0)


def test_the_document_itself_is_left_as_it_is() -> None:
    document = {"list": [{"api_key": "plain"}]}

    redact(document)

    assert document == {"list": [{"api_key": "plain"}]}


def test_what_is_nested_deeper_than_a_document_may_be_breaks_nothing() -> None:
    deep: Any = "Authorization: Bearer abcdefgh12345678"
    for _ in range(900):
        deep = [deep]

    assert redact({"deep": deep}) == ({"deep": deep}, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(document=JSON)
def test_a_document_without_secrets_is_kept_as_it_is(document: Any) -> None:
    assert redact({"line": document}) == ({"line": document}, 0)


@given(
    document=JSON,
    token=st.sampled_from([*TOKENS.values()]),
    before=st.text(max_size=5).filter(lambda t: not t[-1:].isalnum() and t[-1:] not in {"-", "_"}),
)
def test_a_token_is_found_amid_anything(document: Any, token: str, before: str) -> None:
    kept, count = as_read({"line": document, "text": f"{before}{token} after"})

    assert count == 1
    assert kept["line"] == document
    assert token not in kept["text"]


@pytest.mark.parametrize(
    "hostile",
    [
        "sk-" * 500_000,
        "-----BEGIN PRIVATE KEY-----" * 50_000,
        "eyJ.eyJ." * 150_000,
        "Authorization:" * 80_000,
        "cookie: " + "a=" * 500_000,
        "api_key=" + "a" * 1_000_000,
        "bearer " * 150_000,
        "BEGIN " * 150_000 + "private key-----",
    ],
    ids=lambda text: text[:12],
)
def test_a_text_that_was_made_to_be_slow_is_not(hostile: str) -> None:
    began = time.process_time()

    redact({"text": hostile})

    assert time.process_time() - began < 10  # some 0.1 s; what is quadratic would take hours
