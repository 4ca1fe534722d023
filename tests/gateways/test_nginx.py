"""nginx before the platform: its own pages, limits, caches and closed connections accuse no event."""

import uuid

import pytest

from genesys_eventbridge.states import Reason, State
from tests.gateways.processes import free_port

#: What nginx returns -> the kind of the pause that it is (platform.md 7.1).
PAGES = {
    # a page if nginx has one for the code, else an empty body
    "400": "config",
    "402": "permission",
    "403": "permission",
    "404": "config",
    "405": "config",
    "406": "config",
    "408": "network",
    "409": "",
    "410": "config",
    "411": "config",
    "412": "config",
    "413": "config",
    "414": "config",
    "415": "config",
    "416": "config",
    "418": "config",
    "421": "config",
    "422": "config",
    "423": "",
    "424": "config",
    "425": "",
    "426": "config",
    "428": "config",
    "429": "rate",
    "431": "config",
    "451": "config",
    "494": "config",
    "495": "config",
    "496": "config",
    "497": "config",
    "500": "network",
    "501": "config",
    "502": "network",
    "503": "network",
    "504": "network",
    "505": "config",
    "507": "network",
    "511": "config",
    "520": "network",
    "599": "network",
    "444": "network",  # nginx closes the connection without an answer
    "301 https://elsewhere.invalid/": "config",
    "302 /login": "config",
    # text that looks like an answer, and is not the platform's
    "400 'no'": "config",
    '400 \'{"message": "Bad Request"}\'': "config",
    "400 '{}'": "config",
    "400 '[]'": "config",
    '422 \'{"error": "nope"}\'': "config",
    '403 \'{"message": "Forbidden"}\'': "permission",
    # success that proves nothing
    "200 '<html><body>We will be back soon</body></html>'": "config",
    "200 ''": "config",
    '202 \'{"status": "ok"}\'': "config",
    "204": "config",
}


@pytest.mark.parametrize("answer", PAGES)
def test_a_page_of_the_gateway_itself_pauses_and_accuses_no_event(answer, nginx, worker):
    gateway = nginx(location=f"return {answer};")
    worker.enqueue()

    worker.publish()

    assert worker.posts() == 0
    assert worker.pause() == PAGES[answer], worker.last_texts()
    assert "permission" in worker.pinged()
    worker.publish(times=4, wait=900)
    worker.judge(gateway=gateway)
    assert worker.states() == {State.PENDING: 6}, worker.last_texts()
    gateway.reload()
    assert "permission" not in worker.pinged()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize(
    "answer",
    ["200 '<html>'", "200 ''", "301 /elsewhere", "400", "403", "429", "444", "500", "502", "503", "504"],
)
def test_a_page_in_answer_to_a_question_leaves_the_event_accepted(answer, nginx, worker):
    """Only the status requests meet the gateway's page: publishing goes on, and no event changes."""
    gateway = nginx(location=f"if ($request_method = GET) {{ return {answer}; }}")
    worker.enqueue()
    worker.publish()

    for _ in range(4):
        worker.check()
        worker.clock.wait(300)
        worker.enqueue(1)
        worker.publish()

    assert worker.states() == {State.ACCEPTED: 10}, worker.last_texts()
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_what_the_platform_itself_refuses_is_dead_also_behind_a_gateway(nginx, worker, platform):
    """The counterpart of the pages: its JSON passes through, and the event ends with its words."""
    nginx()
    platform.sandbox.unregister("order.created")
    (refused,) = worker.enqueue(1)

    worker.publish()

    refused.refresh_from_db()
    assert (refused.state, refused.reason) == (State.DEAD, Reason.REJECTED)
    assert "is not registered" in refused.last_error
    worker.judge()


def test_a_page_in_place_of_the_platforms_own_refusal_accuses_no_event(nginx, worker, platform):
    """proxy_intercept_errors: the platform refused, but what arrives could be about anything."""
    gateway = nginx(
        server="proxy_intercept_errors on; error_page 400 /oops; location = /oops { return 400; }"
    )
    platform.sandbox.unregister("order.created")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert worker.states() == {State.PENDING: 6}, worker.last_texts()
    platform.sandbox.register("order.created")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_an_operator_who_resumes_need_not_wait_for_the_end_of_the_pause(nginx, worker):
    gateway = nginx(location="return 403;")
    worker.enqueue()
    worker.publish(times=3, wait=900)
    worker.assert_texts_name("403")
    gateway.reload()

    assert worker.publish().claimed == 0
    worker.resume()
    worker.publish()

    assert worker.posts() > 0
    assert worker.pause() == ""
    worker.drain()
    worker.assert_all_delivered()


# ---- requests that are too large for the gateway -------------------------------------------------


def test_a_bearer_token_too_large_for_stock_nginx_kills_nothing(nginx, worker, platform):
    """9 KB in one header: nginx answers 400 "Request Header Or Cookie Too Large"."""
    gateway = nginx()
    platform.token_padding = "x" * 9000
    worker.enqueue()

    worker.publish(times=3, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("gateway", "Request Header Or Cookie Too Large")
    gateway.reload(server="large_client_header_buffers 4 32k;")
    worker.drain()
    worker.assert_all_delivered()


def test_a_path_too_long_for_the_gateway_kills_nothing(nginx, worker, platform):
    gateway = nginx(http="client_header_buffer_size 512; large_client_header_buffers 4 1k;")
    path = "/" + "long/" * 300 + "events"
    platform.sandbox.configure(events_path=path)
    worker.settings["EVENTS_PATH"] = path
    worker.enqueue()

    worker.publish(times=3, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("gateway", "414")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_events_that_are_all_too_large_for_the_gateway_wait(nginx, worker):
    gateway = nginx(server="client_max_body_size 1k;")
    worker.enqueue(data={"text": "x" * 2000})

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("413", "Request Entity Too Large")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_one_event_too_large_for_the_gateway_ends_and_stops_no_other(nginx, worker):
    """It alone meets the page again and again while others are accepted: its own halts end it."""
    nginx(server="client_max_body_size 1k;")
    large, *small = worker.enqueue(1, {"text": "x" * 2000}) + worker.enqueue(4)

    for _ in range(20):
        small += worker.enqueue(1)
        worker.publish(wait=900)

    large.refresh_from_db()
    assert (large.state, large.reason) == (State.DEAD, Reason.REJECTED)
    assert "413" in large.last_error
    worker.drain()
    worker.judge(ended_by_their_own_halts=[large])
    assert worker.states() == {State.DEAD: 1, State.DELIVERED: len(small)}


# ---- the platform behind the gateway is down, slow or limited ------------------------------------


def test_while_the_platform_is_down_behind_the_gateway_no_event_ends(nginx, worker, platform):
    """502 for a long time: as many passes as would use up an event's attempts, were they counted."""
    gateway = nginx()
    worker.enqueue(1)
    worker.publish()  # and has a token from now on
    platform.down()
    worker.enqueue()

    worker.publish(times=25, wait=900)

    worker.judge(gateway=gateway)
    assert worker.states() == {State.ACCEPTED: 1, State.PENDING: 6}, worker.last_texts()
    assert worker.pause() == "network"
    worker.assert_texts_name("502")
    platform.up()
    worker.drain()
    worker.assert_all_delivered()


def test_answers_that_come_too_late_for_the_gateway_are_proved_by_the_next_try(nginx, worker, platform):
    """504: the platform took each event and the gateway hung up on it."""
    nginx(location="proxy_read_timeout 100ms; proxy_ignore_client_abort off;")
    worker.enqueue(3)

    with platform.holding_answers():
        worker.publish()
    assert worker.states() == {State.PENDING: 3}
    assert "504" in worker.texts[-1]
    worker.drain()

    worker.assert_all_delivered()
    assert platform.sandbox.ledger()["requests"]["publish POST 409"] == 3


@pytest.mark.parametrize("status", ["503", "429", "444"])
def test_what_the_gateways_rate_limit_refuses_is_sent_later(status, nginx, worker):
    gateway = nginx(
        http="limit_req_zone $server_port zone=all:1m rate=1r/m;",
        location=f"limit_req zone=all burst=2 nodelay; limit_req_status {status};",
    )
    worker.enqueue(12)

    worker.publish(times=4, wait=60)

    worker.judge(gateway=gateway)
    states = worker.states()
    assert states[State.ACCEPTED] == 3
    assert states[State.PENDING] == 9
    assert worker.pause() == ("rate" if status == "429" else "network")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


# ---- answers that are not about the event --------------------------------------------------------


def test_a_maintenance_page_with_status_200_is_no_acceptance(nginx, worker):
    page = "<html><title>Maintenance</title><body>Back at noon</body></html>"
    gateway = nginx(location=f"return 200 '{page}';")
    worker.enqueue()

    worker.publish(times=4, wait=900)

    assert worker.states() == {State.PENDING: 6}
    assert worker.pause() == "config"
    worker.assert_texts_name("page")
    worker.judge(gateway=gateway)
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


SAME_ANSWER = (
    "proxy_cache answers; proxy_cache_methods POST; proxy_cache_key $uri; proxy_cache_valid any 1h; "
    "proxy_cache_lock on;"
)


@pytest.mark.parametrize("confirm", [True, False])
def test_a_cache_that_gives_each_event_the_same_answer_proves_one(confirm, nginx, worker):
    """One remote id proves one event; the others are in conflict until the cache is gone."""
    worker.settings |= {"CONFIRM": confirm, "CONCURRENCY": 1}
    gateway = nginx(location=SAME_ANSWER)
    worker.enqueue(5)

    worker.publish()
    worker.judge()
    taken = State.ACCEPTED if confirm else State.DELIVERED
    assert worker.states() == {State.PENDING: 4, taken: 1}, worker.last_texts()

    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_of_requests_that_overlap_in_a_cache_one_is_proven(nginx, worker):
    """Which of them the cache let through no client can know for certain."""
    nginx(location=SAME_ANSWER)
    worker.enqueue(5)

    worker.publish(CONCURRENCY=5)

    assert worker.states() == {State.PENDING: 4, State.ACCEPTED: 1}, worker.last_texts()


def test_a_cache_that_stays_leaves_its_conflicts_to_an_operator(nginx, worker):
    worker.settings["CONCURRENCY"] = 1
    gateway = nginx(location=SAME_ANSWER)
    worker.enqueue(3)

    worker.publish(times=8, wait=900)
    worker.check()

    worker.judge(gateway=gateway)
    assert worker.states() == {State.DELIVERED: 1, State.UNRESOLVED: 2}, worker.last_texts()
    assert {row.reason for row in worker.rows() if row.state == State.UNRESOLVED} == {Reason.CONFLICT}


# ---- the login host behind a broken gateway ------------------------------------------------------

LOGIN = {
    "200 '<html><body>We will be back soon</body></html>'": "config",
    "204": "config",
    "302 /elsewhere": "config",
    "400": "config",
    "403": "auth",
    "404": "config",
    "429": "rate",
    "444": "network",
    "500": "network",
    "502": "network",
    "503": "network",
    "504": "network",
}


@pytest.mark.parametrize("answer", LOGIN)
def test_a_login_host_behind_a_broken_gateway_accuses_no_event(answer, nginx, worker, platform):
    login = nginx(location=f"return {answer};")
    worker.settings |= {"API_BASE_URL": platform.url, "LOGIN_BASE_URL": login.url}
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert worker.posts() == 0
    worker.assert_uncharged()
    assert {row.halts for row in worker.rows()} == {0}
    assert worker.pause() == LOGIN[answer]
    worker.assert_texts_name("token")
    login.reload()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("answer", ["200 '<html>'", "400", "403", "404", "503"])
def test_one_host_with_a_broken_way_to_the_login_kills_no_event_that_others_could_send(
    answer, nginx, worker, platform
):
    """Two hosts share the outbox: what the broken one meets is no answer to any event."""
    login = nginx(location=f"return {answer};")
    worker.settings["API_BASE_URL"] = platform.url
    (unlucky,) = worker.enqueue(1)

    for _ in range(8):
        worker.publish(wait=900, LOGIN_BASE_URL=login.url, CLIENT_ID=f"client-{uuid.uuid4()}")
        worker.send_another(unlucky)

    worker.drain()
    worker.assert_all_delivered()


# ---- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "directives",
    [
        {"server": "keepalive_requests 1;"},
        {"server": "keepalive_requests 3;"},
        {"server": "keepalive_timeout 0;"},
        {"server": "keepalive_disable none; lingering_close off;"},
        {"location": "proxy_buffering off; proxy_request_buffering off;"},
        {"location": "proxy_http_version 1.1; proxy_set_header Connection '';"},
        {"location": "proxy_http_version 1.0;"},
        {"location": "chunked_transfer_encoding off; proxy_buffering off;"},
        {"http": "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;"},
    ],
    ids=lambda directives: next(iter(directives.values())).partition(";")[0],
)
def test_events_pass_in_one_try_however_the_gateway_keeps_its_connections(directives, nginx, worker):
    nginx(**directives)
    worker.enqueue(20)

    with worker.kept_connections():
        worker.publish()
        worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()


def test_connections_that_nginx_closes_while_they_are_idle_double_and_lose_nothing(nginx, worker):
    nginx(server="keepalive_timeout 5ms;")
    with worker.kept_connections():
        for _ in range(10):
            worker.enqueue(4)
            worker.publish()

    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("options", ["keepalive 4;", "keepalive 4; keepalive_requests 2;"])
def test_upstream_connections_that_the_platform_has_closed_double_and_lose_nothing(
    options, nginx, worker, platform
):
    """nginx meets the closed connection with the next event, and answers 502 for it."""
    nginx(
        http=f"upstream kept {{ server 127.0.0.1:{platform.port}; {options} }}",
        location="proxy_http_version 1.1; proxy_set_header Connection '';",
        proxy="proxy_pass http://kept;",
    )
    with worker.kept_connections():
        for _ in range(4):
            worker.enqueue(5)
            worker.publish()
            platform.down()
            platform.up()

    worker.drain()

    worker.assert_all_delivered()


def test_reloads_while_events_are_published_double_and_lose_nothing(nginx, worker, while_publishing):
    gateway = nginx(server="keepalive_requests 20;")
    worker.settings |= {"CONCURRENCY": 4, "BATCH_SIZE": 50}
    worker.enqueue(300)

    reloads = while_publishing(gateway.reload)

    assert reloads > 1
    worker.drain()
    worker.assert_all_delivered()


def test_a_gateway_that_is_stopped_and_started_while_events_are_published_loses_nothing(
    nginx, worker, while_publishing
):
    gateway = nginx()
    worker.settings |= {"CONCURRENCY": 4, "BATCH_SIZE": 50}
    worker.enqueue(300)

    def restart():
        gateway.stop()
        gateway.start()

    assert while_publishing(restart) > 1
    worker.drain()
    worker.assert_all_delivered()


def test_a_gateway_that_is_not_there_takes_no_event_and_charges_none(worker):
    worker.settings["API_BASE_URL"] = f"http://127.0.0.1:{free_port()}"
    worker.enqueue()

    worker.publish(times=15, wait=900)

    worker.assert_uncharged()
    assert worker.pause() == "network"
    worker.settings["API_BASE_URL"] = worker.platform.url
    worker.drain()
    worker.assert_all_delivered()
