"""One region in any spelling gives both hosts; a URL that would leak credentials is refused."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.platform import regions

FRANKFURT = regions.Hosts("https://api.mypurecloud.de", "https://login.mypurecloud.de", known=True)


@pytest.mark.parametrize(("key", "domain"), regions.DOMAINS.items())
def test_every_region_of_the_table_has_its_two_hosts(key, domain):
    expected = regions.Hosts(f"https://api.{domain}", f"https://login.{domain}", known=True)

    for spelling in (
        key,
        key.upper(),
        key.replace("-", "_"),
        domain,
        f"api.{domain}",
        f"https://login.{domain}/",
    ):
        assert regions.hosts(spelling) == expected


def test_the_table_has_the_eighteen_regions_of_the_official_sdk():
    assert len(regions.DOMAINS) == 18
    assert regions.DOMAINS["us-east-1"] == "mypurecloud.com"
    assert regions.DOMAINS["eusc-de-east-1"] == "edee1.eusc-pure.cloud"


@pytest.mark.parametrize(
    "spelling",
    [
        "eu-central-1",
        "EU_CENTRAL_1",
        "  eu-central-1\n",
        "mypurecloud.de",
        "MyPureCloud.DE",
        "mypurecloud.de.",
        "api.mypurecloud.de",
        "login.mypurecloud.de",
        "apps.mypurecloud.de",
        "api.mypurecloud.de/",
        "https://mypurecloud.de",
        "https://api.mypurecloud.de/",
        "HTTPS://API.MYPURECLOUD.DE./",
        "https://api.mypurecloud.de/api/v2",
        "https://apps.mypurecloud.de/directory/#/admin?x=1",
    ],
)
def test_a_region_may_be_a_key_a_domain_a_host_or_a_url(spelling):
    assert regions.hosts(spelling) == FRANKFURT


@pytest.mark.parametrize(
    ("spelling", "domain"),
    [
        ("newregion1.pure.cloud", "newregion1.pure.cloud"),
        ("api.gateway.example", "gateway.example"),
        ("inindca.com", "inindca.com"),
        ("mygen.com", "mygen.com"),
        ("api.api.mypurecloud.de", "api.mypurecloud.de"),  # one label is taken off, no more
        ("apix.mypurecloud.de", "apix.mypurecloud.de"),
        ("api.com", "api.com"),
    ],
)
def test_a_domain_outside_of_the_table_is_taken_and_marked(spelling, domain):
    """New regions appear before any list knows them: the table is no gate."""
    found = regions.hosts(spelling)

    assert found == regions.Hosts(f"https://api.{domain}", f"https://login.{domain}", known=False)


@pytest.mark.parametrize(
    "spelling",
    [
        "frankfurt",
        "us-east-9",
        "us-gov-west-1",
        "",
        "   ",
        None,
        7,
        b"us-east-1",
        ["us-east-1"],
        "localhost",
        "127.0.0.1",
        "api.mypurecloud.de:443",
        "https://api.mypurecloud.de:8443",
        "http://api.mypurecloud.de",
        "//evil.example",
        "https://",
        "ftp://api.mypurecloud.de",
        "https://user:hunter2@evil.example",
        "api.mypurecloud.de@evil.example",
        "api.mypurecloud.de\\@evil.example",
        "evil.example\r\nX: y",
        "a b.example",
        "mypurecloud\x00.de",
        "m\u0443purecloud.com",
        "mypurecloud.d\u0435",
        "{env}.mypurecloud.com",
        "-a.example",
        "a-.example",
        "a..example",
        ".example",
        "a_b.example",
        f"{'a' * 64}.example",
        ".".join(["abcdefgh"] * 40),
    ],
)
def test_what_is_no_region_is_refused_with_the_known_ones(spelling):
    with pytest.raises(ValueError, match="REGION") as caught:
        regions.hosts(spelling)

    text = str(caught.value)
    assert "us-east-1, us-east-2" in text
    assert "API_BASE_URL" in text
    assert "hunter2" not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("us-east", "us-east-"),
        ("eu-wset-1", "eu-west-1"),
        ("US_EST_1", "us-east-1"),
        ("us-gov-west-1", "us-east-2"),
        ("{env}.mypurecloud.com", "mypurecloud.com"),
    ],
)
def test_a_refusal_says_what_was_probably_meant(spelling, meant):
    with pytest.raises(ValueError, match=f"Did you mean {meant}"):
        regions.hosts(spelling)


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("", "must be non-empty text, got ''"),
        ("  ", "must be non-empty text"),
        (7, "must be non-empty text, got 7"),
        ("a b.example", "'a b.example' has spaces, control characters or non-ASCII letters"),
        ("a\x1b.example", "'a\\\\x1b.example' has spaces, control characters"),
        ("my\u212a.example", "non-ASCII letters"),  # the Kelvin sign is "k" in lower case
        ("frankfurt", "'frankfurt' is not a region, a domain or an https URL"),
    ],
)
def test_a_refusal_shows_what_was_given_and_why(spelling, words):
    with pytest.raises(ValueError, match="REGION") as caught:
        regions.hosts(spelling)

    assert words in str(caught.value)


def test_a_domain_leaves_room_for_the_names_of_its_hosts():
    longest = ".".join(["a" * 47] * 5) + "b"

    assert len(longest) == 240
    assert regions.hosts(longest).api_base_url == f"https://api.{longest}"
    with pytest.raises(ValueError, match="REGION"):
        regions.hosts(f"{longest}b")


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(ValueError, match="Known regions") as caught:
        regions.hosts("frankfurt")

    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        (" MyGen.COM ", "mypurecloud.com"),
        ("mygenesys.com", "mypurecloud.com"),
        ("usw2.mygen.com", "usw2.pure.cloud"),
        ("api.eu.mypurecloud.com", "mypurecloud.ie"),
        ("https://api.us.genesys.cloud/", "mypurecloud.com"),
        ("api.genesyscloud.com", "mypurecloud.com"),
        ("mypurecluod.de", "mypurecloud.de"),
        ("mypurecloud.de", ""),
        ("us_east_1", ""),
        ("gateway.example", ""),
        ("", ""),
    ],
)
def test_a_host_of_the_tutorials_has_a_suggestion(spelling, meant):
    assert regions.did_you_mean(spelling) == meant


# ----------------------------------------------------------------------------------------------- the URLs


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://api.mypurecloud.de", "https://api.mypurecloud.de"),
        (" HTTPS://API.MyPureCloud.DE./ ", "https://api.mypurecloud.de"),
        ("https://api.mypurecloud.de:443/", "https://api.mypurecloud.de"),
        ("https://api.mypurecloud.de:08443", "https://api.mypurecloud.de:8443"),
        ("https://gateway.example/Genesys/eu_1/", "https://gateway.example/Genesys/eu_1"),
        ("https://gateway//a//", "https://gateway/a"),
        ("https://10.0.0.7", "https://10.0.0.7"),
        ("https://[2001:DB8::0:7]:8443", "https://[2001:db8::7]:8443"),
        ("http://localhost:8900", "http://localhost:8900"),
        ("http://LOCALHOST.:80/", "http://localhost"),
        ("http://127.0.0.1:8900/prefix", "http://127.0.0.1:8900/prefix"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8900", "http://[::1]:8900"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
    ],
)
def test_a_url_is_normalised_and_then_stays_as_it_is(given, normal):
    assert regions.check_url(given, "LOGIN_BASE_URL") == normal
    assert regions.check_url(normal, "LOGIN_BASE_URL") == normal


@pytest.mark.parametrize(
    "url",
    [
        "http://api.mypurecloud.de",
        "http://10.0.0.7",
        "http://[::2]",
        "http://[::ffff:127.0.0.1]",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.evil",
        "http://127.gateway.dc1",
        "http://127.0.0.x1",
        "http://a.localhost",
    ],
)
def test_http_is_for_this_machine_only(url):
    with pytest.raises(ValueError, match=r"LOGIN_BASE_URL .* Use https"):
        regions.check_url(url, "LOGIN_BASE_URL")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "  ",
        None,
        7,
        b"https://x",
        "api.mypurecloud.de",
        "//api.mypurecloud.de",
        "https://",
        "https:///path",
        "https:/api.x",
        "https:api.x",
        "ftp://api.x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://?x",
        "https://user@api.x",
        "https://user:hunter2@api.x",
        "https://:hunter2@api.x",
        "https://api.x/@hunter2",
        "https://api.x@evil.example",
        "https://api.x\\@evil.example",
        "https://api.x\\.evil.example",
        "https://api.x?q=hunter2",
        "https://api.x/?",
        "https://api.x#f",
        "https://api.x/a?b",
        "https://api.x\r\nHost: evil",
        "https://api.x\x00",
        "https://api.x/\x7f",
        "https://api .x",
        "https://api.\u0445",
        "https://api.x:",
        "https://api.x:0",
        "https://api.x:65536",
        "https://api.x:٨٠",
        "https://api.x:8a",
        "https://api.x:1:2",
        "https://api.x/../admin",
        "https://api.x/a/..",
        "https://api.x/./a",
        "https://api.x/a//b",
        "https://api.x/%2e%2e",
        "https://api.x/a;b",
        "https://api_x",
        "https://-api.x",
        "https://api..x",
        "https://.",
        "https://[::1",
        "https://::1",
        "https://[::1%25lo]",
        "https://[::1%lo]",
        "https://[]",
        "https://[::g]",
        "https://1.2.3",
        "https://256.1.1.1",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.0.0.0x1",
        "https://10.0.0.256",
        "https://api.mypurecloud.de..",
        "https://127.0.0.01",
        "https://" + "a" * 64 + ".x",
        "https://" + "a." * 127 + "example",
        "https://*.mypurecloud.de",
    ],
)
@pytest.mark.parametrize("setting", ["API_BASE_URL", "LOGIN_BASE_URL"])
def test_what_is_no_plain_url_is_refused_and_a_password_in_it_not_shown(url, setting):
    with pytest.raises(ValueError, match=setting) as caught:
        regions.check_url(url, setting)

    text = str(caught.value)
    assert "hunter2@" not in text
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://gateway.example/in?sig=hunter2&v=1", "'https://gateway.example/in?***'"),
        ("https://gateway.example/in#hunter2", "'https://gateway.example/in#***'"),
        ("https://user:hunt?er2@api.x/?k=hunter2", "'***@api.x/?***'"),
    ],
)
def test_a_query_of_a_refused_url_may_be_a_key_and_is_not_shown(url, shown):
    with pytest.raises(ValueError, match="API_BASE_URL") as caught:
        regions.check_url(url, "API_BASE_URL")
    assert f"API_BASE_URL {shown} is not" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must be non-empty text"),
        ("  ", "must be non-empty text"),
        ("https://a b", "'https://a b' has spaces, control characters or non-ASCII letters"),
        ("https://\u212a.example", "non-ASCII letters"),
        ("https://user:pass@api.x", "without user name, password, query or fragment"),
        ("https://api.x?q", "without user name, password, query or fragment"),
        ("https://api.x/#f", "without user name, password, query or fragment"),
        ("https://api.x\\y", "without user name, password, query or fragment"),
        ("api.x", "'api.x' is not the URL of a host"),
        ("https://a_b", "names 'a_b', which is not a valid host name or address"),
        ("https://api.x:0", "has port 0"),
        ("https://api.x/a b", "has spaces"),
        ("https://api.x/a;b", "has the path '/a;b'"),
    ],
)
def test_a_refused_url_is_shown_with_the_reason(url, words):
    with pytest.raises(ValueError, match="API_BASE_URL") as caught:
        regions.check_url(url, "API_BASE_URL")

    assert words in str(caught.value)


@pytest.mark.parametrize(("setting", "sample"), [("API_BASE_URL", "api"), ("LOGIN_BASE_URL", "login")])
def test_a_refused_url_comes_with_a_sample(setting, sample):
    with pytest.raises(ValueError, match=f"Write {setting} like https://{sample}.mypurecloud.com"):
        regions.check_url("", setting)


def test_a_host_name_may_be_as_long_as_dns_allows():
    longest = ".".join(["a" * 49] * 5) + ".aaa"

    assert len(longest) == 253
    assert regions.check_url(f"https://{longest}", "API_BASE_URL") == f"https://{longest}"
    with pytest.raises(ValueError, match="API_BASE_URL"):
        regions.check_url(f"https://{longest}a", "API_BASE_URL")


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://", "https://api.x/", "https://api."]))
def test_whatever_is_given_the_answer_is_a_safe_url_or_a_value_error(rest, start):
    for ask in (
        lambda text: regions.check_url(text, "API_BASE_URL"),
        lambda text: regions.hosts(text).api_base_url,
    ):
        try:
            url = ask(start + rest)
        except ValueError:
            continue
        assert url.startswith(("https://", "http://localhost", "http://127.", "http://[::1]"))
        assert url.isascii()
        assert url.isprintable()
        assert not set(url.partition("://")[2]) & set("@?#\\ ")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("https://api.mypurecloud.de/api/v2", "https://api.mypurecloud.de"),
        ("https://api.mypurecloud.de/api/v2/", "https://api.mypurecloud.de"),
        ("https://gateway.example/genesys/api/v2", "https://gateway.example/genesys"),
    ],
)
def test_the_doubled_path_is_taken_off_the_api_url_and_said(given, left, caplog):
    with caplog.at_level(logging.WARNING, logger="genesys_eventbridge"):
        assert regions.check_url(given, "API_BASE_URL") == left

    assert "/api/v2" in caplog.text


def test_other_paths_and_the_login_url_keep_theirs_in_silence(caplog):
    assert regions.check_url("https://x/api/v2", "LOGIN_BASE_URL") == "https://x/api/v2"
    assert regions.check_url("https://x/api/v2/y", "API_BASE_URL") == "https://x/api/v2/y"
    assert regions.check_url("https://x/my-api/v2", "API_BASE_URL") == "https://x/my-api/v2"
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("api", "login"),
    [
        ("https://api.mypurecloud.de", "https://login.mypurecloud.de"),
        ("https://API.mypurecloud.de/", "https://login.mypurecloud.de"),
        ("https://api.mypurecloud.de/api/v2", "https://login.mypurecloud.de"),
        ("https://api.gateway.example:8443", "https://login.gateway.example:8443"),
        ("https://api.api.example", "https://login.api.example"),
    ],
)
def test_the_login_host_stands_beside_the_api_host(api, login):
    assert regions.derive_login(api) == login


@pytest.mark.parametrize(
    "api",
    [
        "https://mypurecloud.de",
        "https://gateway.example",
        "https://apix.example",
        "http://127.0.0.1:8900",
        "https://my.api.example",
        "https://api.gateway.example/genesys",
    ],
)
def test_a_login_host_is_never_guessed(api):
    """The SDK's replacement silently changes nothing there, and the secret goes to the wrong host."""
    with pytest.raises(ValueError, match=r"Set LOGIN_BASE_URL, normally https://login\.<domain>"):
        regions.derive_login(api)


def test_a_login_host_is_not_derived_from_a_url_that_is_refused():
    with pytest.raises(ValueError, match="API_BASE_URL"):
        regions.derive_login("http://api.mypurecloud.de")
