"""A server on loopback that behaves well or badly, as a test says."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does.

    Args:
        content: The file.
        knows_ranges: Whether it sends parts.
        tag: The file's strong tag; None sends none.
        dies_after: For each coming answer, the bytes after which the connection is cut; none when the list is empty.
        answers: For each coming request, a status that is sent instead of the file; none when the list is empty.
        names_length: Whether it says how long the file is.
        shifts: How far off the parts are that it sends.
        requests: The headers of what it was asked.
    """

    content: bytes
    knows_ranges: bool = True
    tag: str | None = '"one"'
    dies_after: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    names_length: bool = True
    shifts: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        told = self.server.behaviour
        told.requests.append(dict(self.headers))
        if told.answers:
            self.send_error(told.answers.pop(0))
            return
        start = self.wanted_start(told)
        if start is not None and start >= len(told.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(told.content)}")
            self.end_headers()
            return
        body = told.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            first = start + told.shifts
            self.send_header("Content-Range", f"bytes {first}-{len(told.content) - 1}/{len(told.content)}")
        if told.tag is not None:
            self.send_header("ETag", told.tag)
        if told.names_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if told.dies_after:
            body = body[: told.dies_after.pop(0)]
        self.wfile.write(body)
        self.close_connection = True

    def wanted_start(self, told):
        asked = self.headers.get("Range")
        if asked is None or not told.knows_ranges:
            return None
        if self.headers.get("If-Range", told.tag) != told.tag:
            return None  # the file has changed
        return int(asked.removeprefix("bytes=").removesuffix("-"))


@contextmanager
def serving(behaviour):
    """Serve, and give the address of the file's folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.behaviour = behaviour
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
