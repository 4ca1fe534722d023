"""Texts from outside: one line, bounded, without control characters, without credentials."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED, clean, redact, redact_text

KEYS = DEFAULT_REDACT_KEYS
CANARY = "hunter2-c4n4ry"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("ünïcödé 😀 \u200d is kept", "ünïcödé 😀 \u200d is kept"),
        ("a\r\nERROR forged", r"a\x0d\x0aERROR forged"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x00\x7f\x80\x9f", r"\x00\x7f\x80\x9f"),
        ("\t\v\f", r"\x09\x0b\x0c"),
        ("line\u2028end\u2029", r"line\u2028end\u2029"),
        ("\u202eevil\u2066\u2069\u200f", r"\u202eevil\u2066\u2069\u200f"),
        ("\ufeffbom\u200b\u00ad", r"\ufeffbom\u200b\xad"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("lone \ud800\udfff surrogate", "lone \ufffd\ufffd surrogate"),
        (b"bytes \xff\n", "bytes \ufffd\\x0a"),
        (None, "None"),
        (ValueError("an\nerror"), r"an\x0aerror"),
    ],
)
def test_what_cannot_be_seen_becomes_visible(given, shown):
    assert clean(given, 100) == shown


class Mute:
    def __str__(self):
        raise RuntimeError("no text")


def test_an_object_that_refuses_to_be_text_is_named_by_its_type():
    assert clean(Mute(), 100) == "<Mute without a text>"


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("abc\n", 4, "abc…"),
        ("a\n", 5, r"a\x0a"),
        ("ab", 1, "…"),
        ("a", 1, "a"),
        ("a", 0, ""),
        ("", 0, ""),
        ("a", -3, ""),
    ],
)
def test_a_cut_text_says_so_and_keeps_to_the_limit(text, limit, shown):
    assert clean(text, limit) == shown


@given(st.text(st.characters()), st.integers(0, 60))
def test_a_cleaned_text_is_short_printable_encodable_and_stays_as_it_is(text, limit):
    cleaned = clean(text, limit)

    assert len(cleaned) <= limit
    cleaned.encode("utf-8")
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Zl", "Zp", "Cs"}
    assert clean(cleaned, limit) == cleaned
    assert len(cleaned.splitlines()) <= 1


@pytest.mark.parametrize(
    "name",
    ["access_token", "accessToken", "Access-Token", "x-access-token-2", "CLIENT_SECRET", "userPassword"],
)
def test_a_member_named_like_a_key_is_masked_at_any_depth(name):
    value = {"ok": [{"deep": ({name: {"whole": CANARY}},)}], name: CANARY}

    assert redact(value, KEYS) == {"ok": [{"deep": [{name: REDACTED}]}], name: REDACTED}


@pytest.mark.parametrize(
    "name",
    [
        "access_token",
        "refreshToken",
        "id-token",
        "auth_token",
        "X-Session-Token",
        "Proxy-Authorization",
        "bearer",
        "clientSecret",
        "password",
        "passwd",
        "key_passphrase",
        "X-API-Key",
        "private_key",
        "credentials",
        "Set-Cookie",
        "cardNumber",
        "cvv2",
        "IBAN",
    ],
)
def test_the_built_in_names_cover_what_usually_holds_credentials(name):
    assert redact({name: CANARY}, KEYS) == {name: REDACTED}
    assert CANARY not in redact_text(f"broken {name}={CANARY}", KEYS)


@pytest.mark.parametrize("name", ["token_type", "id", "key", "status", "expires_in", "contextId", "card"])
def test_the_built_in_names_spare_what_holds_none(name):
    assert redact({name: "shown"}, KEYS) == {name: "shown"}


def test_redacting_leaves_everything_else_and_the_original_alone():
    value = {"number": 1, "none": None, "items": [1.5, True, "text"], 7: "key"}
    before = json.dumps(value)

    assert redact(value, KEYS) == value
    assert redact(value, KEYS) is not value
    assert json.dumps(value) == before
    assert redact({"password": 1}, ()) == {"password": 1}
    assert redact({"password": 1}, ("", "-")) == {
        "password": 1
    }  # a key that folds to nothing matches nothing


def test_redacting_a_value_nested_without_end_ends():
    value: dict[str, object] = {"password": CANARY}
    for _ in range(100_000):
        value = {"a": [value]}

    inner = redact(value, KEYS)
    for _ in range(100_000):
        inner = inner["a"][0]
    assert inner == {"password": REDACTED}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"access_token": "x", "n": [1]}', '{"access_token": "[redacted]", "n": [1]}'),
        ('{"a":"ü","password":{"x":1}}', '{"a": "ü", "password": "[redacted]"}'),
        ('["Authorization: Bearer abc.def-1"]', '["Authorization: [redacted]"]'),
        (
            '{"m":"sent Bearer abc","k Basic abc":1}',
            '{"m": "sent Bearer [redacted]", "k Basic [redacted]": 1}',
        ),
        ('{"body":"{\\"password\\":\\"x\\"}"}', '{"body": "{\\"password\\":[redacted]}"}'),
        ("Authorization: Bearer abc.def-1", "Authorization: [redacted]"),
        ("got bearer  abc, want", "got bearer  [redacted] want"),
        ("Bearer%20abc+def", "Bearer%20[redacted]"),
        ('Bearer "abc"', 'Bearer "[redacted]"'),
        ("Basic Bearer abc", "Basic Bearer [redacted]"),
        ("Basic dXNlcjpwYXNz==", "Basic [redacted]"),
        ("eyJhbGciOi.eyJzdWIiOj.c2ln rest", "[redacted] rest"),
        ("client_secret=abc&x=1", "client_secret=[redacted]&x=1"),
        ("client_secret%3Dabc&x=1", "client_secret%3D[redacted]&x=1"),
        ("user[password]=abc", "user[password]=[redacted]"),
        ("Cookie: a=b; c=d\nnext", "Cookie: [redacted]\nnext"),
        ("Client Secret: a b", "Client Secret: [redacted]"),
        ('Set-Cookie: a="b c"; d', "Set-Cookie: [redacted]"),
        ("password=cookie: a b", "password=[redacted] [redacted]"),
        ("password=secret=a secret=b&c", "password=[redacted] secret=[redacted]&c"),
        ("Basic Authorization: a", "Basic [redacted] [redacted]"),
        ('broken {"access_token":"a\\"b","x":1', 'broken {"access_token":[redacted],"x":1'),
        ("{'password': 'it\\'s', 'x': 1}", "{'password': [redacted], 'x': 1}"),
        ('{\\"password\\":\\"abc\\",\\"x', '{\\"password\\":[redacted],\\"x'),
        ('broken {"password":{"a":["b', 'broken {"password":[redacted]'),
        ("password => abc", "password => [redacted]"),
        ("<ns:password>abc</ns:password><x>y</x>", "<ns:password>[redacted]</ns:password><x>y</x>"),
        ("<password>a</password>b", "<password>[redacted]</password>b"),
        ("password > 5 is no element", "password > 5 is no element"),
        ('password=secret="a b"&c', "password=[redacted]&c"),
        ("the password was wrong", "the password was wrong"),
        ("password=", "password="),
        ("token_type: bearer", "token_type: bearer"),
        ("nothing\nhere", "nothing\nhere"),
    ],
)
def test_credentials_are_masked_in_json_and_in_any_other_text(text, shown):
    assert redact_text(text, KEYS) == shown
    assert redact_text(shown, KEYS) == shown


def test_json_stays_as_it_was_written_where_nothing_is_to_hide_but_on_one_line():
    assert redact_text('{"a":  1}', KEYS) == '{"a":  1}'
    assert redact_text('{"a":\n1}', KEYS) == '{"a": 1}'


@pytest.mark.parametrize(
    "text",
    [
        "echo {}",
        '{{"echo":"{}"}}',
        '{{"{}":1}}',
        '["\\u0068unter2-c4n4ry"]',
        "[" * 5000 + '"{}"',
        '["{}", 1' + "0" * 5000 + "]",
        "%7B{}%7D",
    ],
)
def test_a_known_secret_is_masked_wherever_it_stands(text):
    shown = redact_text(text.replace("{}", CANARY).replace("{{", "{").replace("}}", "}"), KEYS, [CANARY])

    assert CANARY not in shown
    assert REDACTED in shown


def test_a_secret_is_found_in_other_spellings():
    secret = 'a"b c/dé'

    assert redact_text("q=a%22b%20c%2Fd%C3%A9", KEYS, [secret]) == "q=[redacted]"
    assert redact_text(r"broken {x: a\"b c/d\u00e9", KEYS, [secret]) == "broken {x: [redacted]"
    assert redact_text("lone \ud800", KEYS, ["\ud800"]) == "lone [redacted]"


def test_the_longer_of_two_secrets_is_masked_first_and_an_empty_one_masks_nothing():
    assert redact_text("abcdef", KEYS, ["abc", "abcdef", ""]) == "[redacted]"
    assert redact_text("text", KEYS, [""]) == "text"


def test_secrets_side_by_side_are_masked_as_one():
    assert redact_text("-abcdef-", KEYS, ["abc", "def"]) == "-[redacted]-"


def test_without_keys_only_tokens_and_secrets_are_masked():
    assert redact_text("password=x Bearer y z", (), ["z"]) == "password=x Bearer [redacted] [redacted]"
    assert redact_text("Bearer y", ()) == "Bearer [redacted]"


def test_json_nested_too_deeply_to_be_written_is_searched_as_text():
    depth = 900  # read without trouble, but written with one Python frame more than there are
    text = "[" * depth + '{"password":"' + CANARY + '"}' + "]" * depth

    assert CANARY not in redact_text(text, KEYS)


pieces = st.sampled_from(
    [
        "Basic",
        "Bearer",
        "password",
        "cookie",
        "x",
        "=",
        ":",
        '"',
        "'",
        "\\",
        "<",
        ">",
        "{",
        "[",
        "[redacted]",
        ",",
        "\n",
        "eyJ",
    ]
)
around = st.text() | st.lists(pieces, max_size=8).map(" ".join)
forms = st.sampled_from(["Bearer {}", "password={}", '{{"client_secret":"{}"}}', "Authorization: {}"])


@given(around, forms)
def test_a_credential_never_survives_what_stands_before_it(before, form):
    assert CANARY not in redact_text(f"{before} {form.format(CANARY)}", KEYS)


@pytest.mark.parametrize(
    "piece",
    [
        "cvv",
        "a",
        "eyJa-",
        "eyJaaaa.",
        "<",
        "<cvv",
        "password ",
        'password"',
        "[",
        "bearer ",
        'password="',
        '{"cvv":',
        "\\",
        'cvv\\\\"\\',
        " ",
        '"password":"\\a',
        "password=>",
        "password=",
        "cookie:",
    ],
)
def test_a_hostile_text_of_a_megabyte_is_searched_to_its_end(piece):
    """A pattern that backtracks would take hours here; no clock is needed to see that it ends."""
    text = piece * (2**20 // len(piece))

    assert CANARY not in redact_text(f"{text}\nBearer {CANARY}", KEYS, [CANARY])
