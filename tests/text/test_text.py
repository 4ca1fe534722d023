"""Texts from outside: one line, bounded, without control characters, without credentials."""

import base64
import html
import json
import unicodedata
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED, clean, redact, redact_text
from genesys_eventbridge.text.readings import plain

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
            '{"m":"sent Bearer abc.def-1","k Basic abc123==":1}',
            '{"m": "sent Bearer [redacted]", "k Basic [redacted]": 1}',
        ),
        ('{"body":"{\\"password\\":\\"x\\"}"}', '{"body": "{\\"password\\":[redacted]}"}'),
        ("Authorization: Bearer abc.def-1", "Authorization: [redacted]"),
        ("got bearer  abcDefgh, want", "got bearer  [redacted] want"),
        ("Bearer%20abc1+def", "Bearer%20[redacted]"),
        ('Bearer "abc"', 'Bearer "[redacted]"'),
        ("Basic Bearer abcDefgh", "Basic Bearer [redacted]"),
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
        ("Basic Authorization: a", "Basic Authorization: [redacted]"),
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
    assert redact_text("abcdefghij", KEYS, ["abcdefgh", "abcdefghij", ""]) == "[redacted]"
    assert redact_text("text", KEYS, [""]) == "text"


def test_secrets_side_by_side_are_masked_as_one():
    assert redact_text("-abcdefghijklmnop-", KEYS, ["abcdefgh", "ijklmnop"]) == "-[redacted]-"


def test_without_keys_only_tokens_and_secrets_are_masked():
    masked = redact_text("password=x Bearer yyyy-1234 z", (), ["z"])

    assert masked == "password=x Bearer [redacted] [redacted]"
    assert redact_text("Bearer yyyy-1234", ()) == "Bearer [redacted]"


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


@pytest.mark.parametrize(
    "words",
    [
        "TLS: Basic Constraints of CA cert not marked critical",
        "No authentication bearer token specified",
        "Bearer authentication is required; Basic authentication is not offered",
        "WWW-Authenticate: Bearer realm=genesys, error=invalid_token",
        "Invalid bearer",
        "Missing authorization header",
        "Invalid login credentials by the host 10.0.0.15",
        "Property 'type' is missing; the password is too short",
        "the cookie isn't valid, and the user's session isn't either",
        "authorization: missing",
        "card_number: must have at least 12 digits.",
        "<li>password: is required</li>",
    ],
)
def test_words_of_a_sentence_are_no_credentials(words):
    assert redact_text(words, KEYS) == words


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        ("Invalid value '4111-1' for card_number", "Invalid value '[redacted]' for card_number"),
        ("'x' is not valid at password", "'[redacted]' is not valid at password"),
        ('"x y" is not valid at /data/password.', '"[redacted]" is not valid at /data/password.'),
        ("Invalid value 'x' for $.data['password']", "Invalid value '[redacted]' for $.data['password']"),
        ("Invalid value “x” at data.cardNumber", "Invalid value “[redacted]” at data.cardNumber"),
        ("Invalid value `x` in field 'iban'", "Invalid value `[redacted]` in field 'iban'"),
        ("value 4111 is not valid for card_number", "value [redacted] is not valid for card_number"),
        ("value hunter2 rejected: password policy", "value [redacted] rejected: password policy"),
        ("the password hunter2 is weak", "the password [redacted] is weak"),
        ("password: must be horse", "password: [redacted]"),
        ("password: must be a string; got hunter2", "password: [redacted]"),
        ("password: must be a string. hunter2 is none", "password: [redacted]"),
        ("password: 12", "password: [redacted]"),
        ("password: isrequired", "password: [redacted]"),
        ("value: abcd for password", "value: [redacted] for password"),
        ("hunter2 is not a valid password", "[redacted] is not a valid password"),
        ("4111111111111111 for card number", "[redacted] for card number"),
        ("password must not be 'x'", "password must not be '[redacted]'"),
        ("'password' has the value 'x'", "'password' has the value '[redacted]'"),
        ("Invalid 'a. b' for password. Try 'c'", "Invalid '[redacted]' for password. Try 'c'"),
        ("Invalid 'O'Brien' for password", "Invalid '[redacted]' for password"),
        ("Invalid value 'x' for password: no", "Invalid value '[redacted]' for password: [redacted]"),
        (r"{\"m\": \"Invalid \"", r"{\"m\": \"Invalid \""),
    ],
)
def test_a_value_is_masked_where_it_stands_before_its_name(words, masked):
    assert redact_text(words, KEYS) == masked
    assert redact_text(masked, KEYS) == masked
    assert json.loads(redact_text(json.dumps({"message": words}), KEYS)) == {"message": masked}


@pytest.mark.parametrize(
    "error",
    [
        {"field": "password", "rejectedValue": CANARY},
        {"name": "password", "value": CANARY},
        {"path": "/data/card_number", "received": 4111111111111111},
        {"path": ["data", "password"], "actual": {"deep": [CANARY]}},
        {"loc": ["body", "data", "password"], "msg": "too short", "input": CANARY},
        {"property": "data.clientSecret", "errors": [{"value": CANARY}]},
        {"parameter": "$.data.iban", "message": f"Invalid value '{CANARY}'"},
        {"source": {"pointer": "/data/password"}, "detail": f"'{CANARY}' is too short"},
        {"instancePath": "/data/password", "data": CANARY},
        {"propertyName": "Password", "attemptedValue": CANARY},
        {"message": "invalid", "messageParams": {"field": "password", "value": CANARY}},
        {"field": "password", "messageParams": {"0": f"'{CANARY}'"}},
    ],
)
def test_a_value_is_masked_where_a_member_beside_it_has_its_name(error):
    text = redact_text(json.dumps({"code": "bad.request", "errors": [error]}), KEYS)

    assert "bad.request" in text
    assert CANARY not in text
    assert "4111" not in text
    assert REDACTED in text
    masked = redact({"errors": [error]}, KEYS)
    assert CANARY not in json.dumps(masked) or "'" in json.dumps(masked)


@pytest.mark.parametrize(
    "text",
    [
        '{"errors": [{"field": "password", "rejectedValue": "hunter2"',
        '{\\"path\\": \\"/data/password\\", \\"value\\": \\"hunter2\\"}',
        "field: password\nvalue: hunter2",
        "field=data.password&value=hunter2",
        "<error><field>password</field><value>hunter2</value></error>",
        "Field error on field 'password': rejected value [hunter2]",
        "rejectedValue='hunter2' property=password",
    ],
)
def test_a_value_is_masked_beside_its_name_also_where_the_text_is_no_json(text):
    assert "hunter2" not in redact_text(text, KEYS)
    assert "hunter2" in redact_text(text.replace("password", "email"), KEYS)


def test_an_error_about_another_member_keeps_its_value():
    error = {"field": "email", "rejectedValue": "x@example", "message": "'x@example' is no address"}

    assert json.loads(redact_text(json.dumps({"errors": [error, {"password": "x"}]}), KEYS)) == {
        "errors": [error, {"password": REDACTED}]
    }


def spelled(secret):
    escaped = json.dumps(secret)[1:-1]
    quoted = quote(secret, safe="")
    return {
        "as it stands": secret,
        "HTML": html.escape(secret),
        "HTML by number": "".join(f"&#{ord(letter)};" for letter in secret),
        "HTML in JSON": json.dumps(html.escape(secret))[1:-1],
        "JSON": escaped,
        "JSON in JSON": json.dumps(escaped)[1:-1],
        "every letter as a number": "".join(f"\\u{ord(letter):04x}" for letter in secret),
        "every letter by \\x": "".join(f"\\x{ord(letter):02x}" for letter in secret),
        "hexadecimal": secret.encode().hex(),
        "URL": quoted,
        "URL in small letters": quoted.replace("%2F", "%2f").replace("%3D", "%3d"),
        "URL, twice": quote(quoted, safe=""),
        "URL, slashes kept": quote(secret),
        "every letter by %": "".join(f"%{ord(letter):02X}" for letter in secret),
        "form": quote_plus(secret),
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64 behind one letter": base64.b64encode(b":" + secret.encode()).decode(),
        "base64 behind two": base64.b64encode(b"u:" + secret.encode() + b"@host").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(b"user:" + secret.encode()).decode(),
    }


@pytest.mark.parametrize("spelling", spelled(""))
@pytest.mark.parametrize("secret", ["hunter2-c4n4ry/+=&%41 <c0lon>:\"'", "~~~???>>>hunter2", "12345678"])
@pytest.mark.parametrize("frame", ["no route for {} here", '{{"message": "no route for \'{}\' here"}}'])
def test_a_secret_is_masked_however_it_is_written(secret, spelling, frame):
    written = spelled(secret)[spelling]
    if frame.startswith("{") and '"' in written.replace('\\"', ""):
        written = json.dumps(written)[1:-1]
    text = frame.format(written)

    masked = redact_text(text, KEYS, [secret])

    assert REDACTED in masked
    assert written.rstrip("=") not in masked
    assert secret not in plain(masked)
    assert "no route for" in masked
    assert " here" in masked


def test_a_secret_of_few_letters_is_masked_as_a_whole_word_only():
    assert redact_text("pass, passage, 'pass' and bypass", KEYS, ["pass"]) == (
        "[redacted], passage, '[redacted]' and bypass"
    )


def test_what_stands_behind_the_searched_part_of_a_text_is_masked():
    text = f"password=x {'y ' * 500_000}{CANARY}"

    masked = redact_text(text, KEYS)

    assert masked.endswith(REDACTED)
    assert len(masked) < 70_000


def test_a_number_in_json_that_is_a_secret_is_masked():
    assert redact_text('{"n": [12345678, 1234567]}', KEYS, ["12345678"]) == '{"n": ["[redacted]", 1234567]}'
