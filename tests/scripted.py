"""A platform with scripted responses, as an httpx transport without sockets."""

import json
import threading

import httpx


class ScriptedPlatform:
    """Issues tokens, and answers each other request with the next scripted answer; the last one repeats.

    An answer is a status code, an ``httpx.Response``, an exception to raise, or a callable that takes the
    request. Without a script it accepts every event and reports each as delivered.
    """

    def __init__(self, *publish, check=()):
        self.publish_script = list(publish)
        self.check_script = list(check)
        self.published: list[httpx.Request] = []
        self.checked: list[httpx.Request] = []
        self.tokens = 0
        self._lock = threading.Lock()

    def transport(self) -> httpx.BaseTransport:
        return httpx.MockTransport(self._answer)

    @property
    def keys(self):
        return [request.headers["Idempotency-Key"] for request in self.published]

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.published]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            with self._lock:
                self.tokens += 1
            return httpx.Response(
                200, json={"access_token": "token-canary", "token_type": "bearer", "expires_in": 3600}
            )
        if request.method == "POST":
            request.read()
            return self._scripted(request, self.published, self.publish_script, self._accept)
        return self._scripted(request, self.checked, self.check_script, self._deliver)

    def _scripted(self, request, seen, script, default) -> httpx.Response:
        with self._lock:
            seen.append(request)
            answer = (script.pop(0) if len(script) > 1 else script[0]) if script else default
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, int):
            body = {"message": f"scripted {answer}", "status": answer}
            answer = default(request) if answer in (200, 201, 202) else httpx.Response(answer, json=body)
        assert isinstance(answer, httpx.Response)
        return answer

    def _accept(self, request: httpx.Request) -> httpx.Response:
        event = json.loads(request.content)
        return httpx.Response(202, json={"id": f"evt-{event['id']}", "status": "accepted"})

    def _deliver(self, request: httpx.Request) -> httpx.Response:
        remote_id = request.url.path.rsplit("/", 1)[-1]
        return httpx.Response(200, json={"id": remote_id, "status": "delivered"})
