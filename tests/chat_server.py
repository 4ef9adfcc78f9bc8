"""A real HTTP server on the loopback that speaks as much of the chat protocol as a test needs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Status, headers, body.
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    url: str = ""
    behave: Callable[[Server, dict[str, Any]], Answer] = lambda server, body: says('{"label": 1, "reason": "r"}')
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


def says(text: str | None, **more: Any) -> Answer:
    """A chat completion."""
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}
    return 200, {}, json.dumps({"model": more.pop("model", "m"), "choices": [choice]}).encode()


def fails(status: int, message: str = "", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message}}).encode()


def text_of(body: dict[str, Any]) -> str:
    """All that the model reads, in order."""
    system, user = body["messages"]
    return system["content"] + "\n\n" + "".join(part.get("text", "") for part in user["content"])


def outside_of_the_quotes(text: str) -> str:
    """What a reader of JSON strings sees outside of the two that are evidence."""
    rest, decoder = "", json.JSONDecoder()
    while found := re.search(r"^(?:QUESTION|ANSWER) (?=\")", text, re.MULTILINE):
        _, end = decoder.raw_decode(text, found.end())
        rest, text = rest + text[: found.start()], text[end:]
    return rest + text


def last_order(text: str) -> str | None:
    """What a model says that obeys the last order it finds: "OBEY: label"."""
    orders = re.findall(r"OBEY: *(\d)", text)
    return f'{{"label": {orders[-1]}, "reason": "as ordered"}}' if orders else None


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.bodies.append(body)
            state.headers.append(dict(self.headers.items()))
            status, headers, data = state.behave(state, body)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client has gone
                pass

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        state.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.stop.set()
            http.shutdown()
            thread.join()
