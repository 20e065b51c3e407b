"""The promises of SECURITY.md, on a real server over sockets. Tests of single parts are beside those parts."""

from __future__ import annotations

import logging
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.telemetry.log_setup import JsonFormatter

ORIGIN = "https://shop.example"
MARK = "e7il"
"""Stands in everything that a caller sends, and must stand nowhere else."""


@pytest.fixture
def image(encoded: Callable[..., bytes]) -> bytes:
    return encoded()


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")


class TestOtherOrigins:
    def test_no_other_origin_may_read_responses_by_default(self, service: Any, image: bytes) -> None:
        for response in (
            service.client.post("/detect", content=image, headers={"origin": ORIGIN}),
            service.client.options("/detect", headers={"origin": ORIGIN, "access-control-request-method": "POST"}),
        ):
            assert not [name for name in response.headers if name.startswith("access-control-")]

    def test_only_configured_origins_may_read_responses(self, start: Any, image: bytes) -> None:
        with start(cors_origins=f"https://a.example, {ORIGIN}", api_key="key") as server:
            asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
            allowed = server.client.options("/detect", headers={"origin": ORIGIN, **asks})
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
            assert "access-control-allow-credentials" not in allowed.headers
            refused = server.client.options("/detect", headers={"origin": "https://evil.example", **asks})
            assert "access-control-allow-origin" not in refused.headers
            answer = server.client.post("/detect", content=image, headers={"origin": ORIGIN, "x-api-key": "key"})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
            locked = server.client.post("/detect", content=image, headers={"origin": ORIGIN})
            assert (locked.status_code, locked.headers["access-control-allow-origin"]) == (401, ORIGIN)


class TestKeys:
    def test_a_body_without_a_key_is_not_asked_for(self, start: Any) -> None:
        with start(api_key="key") as server:
            answer = server.raw(head("/detect", "Content-Length: 100", "Expect: 100-continue"))
            assert answer.startswith(b"HTTP/1.1 401")

    def test_no_key_is_sent_or_logged(self, start: Any, image: bytes, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with start(api_key="first-secret,second-secret") as server:
            responses = []
            for key in ("first-secret", "second-secret", "wrong-secret"):
                for path in ("/detect?L=1&" + MARK, "/detect", "/model", "/metrics", "/openapi.json", "/nowhere"):
                    responses.append(server.client.post(path, content=image, headers={"x-api-key": key}).text)
                    responses.append(server.client.get(path, headers={"authorization": f"Bearer {key}"}).text)
        lines = [JsonFormatter().format(record) for record in caplog.records if not record.name.startswith("httpcore")]
        assert len(lines) > 10
        assert "-secret" not in "".join(responses + lines)


class TestSlowAndManyCallers:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("path", ["/livez", "/metrics", "/nowhere", "/"])
    def test_an_unread_body_does_not_hold_a_connection(self, service: Any, method: str, path: str) -> None:
        answer = service.raw(head(path, "Content-Length: 1000000", method=method) + b"x")  # the server hangs up
        assert answer.startswith(b"HTTP/1.1 ")

    def test_a_trickle_of_bytes_does_not_extend_the_body_timeout(self, start: Any) -> None:
        with start(body_timeout_s=0.5) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(head("/detect", "Content-Length: 1000000"))
                ended = threading.Event()
                trickle = threading.Thread(target=self.trickle, args=(connection, ended))
                trickle.start()
                answer = connection.recv(65536)
                ended.set()
                trickle.join()
            assert answer.startswith(b"HTTP/1.1 408")
            server.eventually(server.idle)

    @staticmethod
    def trickle(connection: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(0.05):
            try:
                connection.send(b"x")
            except OSError:
                return

    def test_stalled_bodies_free_their_places(self, start: Any, image: bytes) -> None:
        with start(max_inflight=2, body_timeout_s=2) as server:
            stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
            for connection in stalled:
                connection.sendall(head("/detect", "Content-Length: 1000"))
            server.eventually(lambda: server.metric("act_detr_inflight_requests") == 2)
            assert server.client.post("/detect", content=image).status_code == 429
            server.eventually(lambda: server.client.post("/detect", content=image).status_code == 200)
            for connection in stalled:
                connection.close()


class TestInputStaysData:
    @pytest.fixture
    def touched(self) -> Iterator[list[str]]:
        """Every file that is opened and every address that is looked up or connected to, while the test runs."""
        events: list[str] = []
        watching = True

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if watching and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
                events.append(repr(arguments))

        sys.addaudithook(hook)  # it cannot be taken away again
        yield events
        watching = False

    def test_no_url_or_path_of_a_request_is_ever_used(self, service: Any, image: bytes, touched: list[str]) -> None:
        post = service.client.post
        for name in (f"../../{MARK}.png", f"/tmp/{MARK}", f"C:\\{MARK}", f"{MARK}\x00.png"):
            assert post("/detect", files={"image": (name, image)}).status_code in (200, 400)
            assert service.client.get(f"/static/..%2f{MARK}").status_code == 404
        for address in (f"http://127.0.0.1:9/{MARK}", f"file:///etc/{MARK}", f"\\\\host\\{MARK}"):
            assert post("/detect", json={"image": address}).status_code == 400
            assert post("/detect", json={"url": address}).status_code == 422
            assert post("/detect", params={"url": address}, content=image).status_code == 422
            assert post("/detect", content=address.encode()).status_code == 415
            assert post("/detect", files={"image": address.encode()}).status_code == 415
        assert touched  # the client's own connections, at least
        assert not [row for row in touched if MARK in row]

    @pytest.mark.parametrize(
        "requested",
        [
            f"{MARK}\tSet-Cookie: a=b",
            f"{MARK}\r\n folded",
            f"{MARK}%0d%0aSet-Cookie:a=b",
            f'{MARK}","level":"critical',
            f"{MARK}\x85next line",
            f"{MARK};red",
            f"{MARK}" * 100,
        ],
    )
    def test_an_id_forges_neither_headers_nor_log_lines(
        self, service: Any, requested: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        answer = service.raw(head("/nowhere", f"X-Request-Id: {requested}", "Connection: close", method="GET"))
        assert answer.startswith(b"HTTP/1.1 404")
        assert MARK.encode() not in answer
        assert b"set-cookie" not in answer.lower()
        lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "act_detr.request"]
        assert len(lines) == 1
        assert MARK not in lines[0]
        assert len(lines[0].splitlines()) == 1

    def test_nothing_that_callers_send_becomes_a_series(self, start: Any, image: bytes) -> None:
        dice = random.Random(7)
        methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", MARK.upper())
        with start() as server:
            ask = server.client.request
            for method in methods:  # every kind of request once, so that every series is there
                for path in (
                    "/x",
                    "/detect",
                    "/detect?labels=x",
                    "/static/x",
                    "/detect?attention=act&L=2&r=1",
                    "/detect?attention=tangent&C=2",
                ):
                    ask(method, path, content=image)
            series = self.series(server)
            for number in range(40):
                text = f"{MARK}{number}"
                ask(dice.choice(methods), f"/{text}", content=image)
                ask("GET", f"/static/{text}", headers={"x-request-id": text, "user-agent": text})
                ask("POST", f"/detect?labels={text}", content=image)
                query = f"attention=act&L={1 + number}&r={0.1 + number}&threshold={number / 40}"
                assert ask("POST", f"/detect?{query}", content=image).status_code == 200
            assert self.series(server) == series
            assert MARK not in server.client.get("/metrics").text

    @staticmethod
    def series(server: Any) -> set[tuple[str, ...]]:
        families = server.service.metrics.registry.collect()
        return {
            (row.name, *sorted(f"{name}={value}" for name, value in row.labels.items()))
            for family in families
            for row in family.samples
        }


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=9; escaping=nonsense",
        "text/plain; version=; escaping=allow-utf-8",
        ";;;,,,",
        "application/openmetrics-text" + ";a" * 20_000,
        "\xff\xfe",
    ],
)
def test_no_accept_header_breaks_the_metrics(service: Any, accept: str) -> None:
    response = service.client.get("/metrics", headers={"accept": accept.encode("latin-1")})
    assert response.status_code == 200
    assert "act_detr_ready" in response.text
