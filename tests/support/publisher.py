"""A server on this machine that plays a publisher, and can be told to misbehave."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What a request got: the first byte it asked for, and how many bytes of the body were sent."""

    path: str
    status: int
    start: int = 0
    sent: int = 0


@dataclass
class Publisher:
    """Serves `files`; each of `faults` befalls one request, in their order.

    A fault is a dict: `stop` closes the connection after so many bytes of the body, `hang` waits there, `status`
    answers with that code, `announce` lies about the length, `change` is a new content from that request on.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[dict] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # knows Range
    versions: bool = True  # sends an ETag
    compares: bool = True  # honours If-Range
    lengths: bool = True  # sends Content-Length
    answers: list[Answer] = field(default_factory=list)
    url: str = ""

    def __enter__(self):
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.answer(self)

            def log_message(self, *_):
                pass

        self.waiting, self.release = threading.Event(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        fault = self.faults.pop(0) if self.faults else {}
        path = request.path
        if "change" in fault:
            self.files[path] = fault["change"]
        if path in self.redirects:
            return self._end(request, 302, Location=self.redirects[path])
        if "status" in fault or path not in self.files:
            return self._end(request, fault.get("status", 404), **{"Retry-After": "0"})
        body = self.files[path]
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start, status = 0, 200
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if asked and self.ranges and not (self.compares and condition not in (None, tag)):
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(body):
                return self._end(request, 416, **{"Content-Range": f"bytes */{len(body)}"})
        self.answers.append(note := Answer(path, status, start))
        request.send_response(status)
        if self.lengths:
            request.send_header("Content-Length", str(fault.get("announce", len(body) - start)))
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.versions:
            request.send_header("ETag", tag)
        request.end_headers()
        part = body[start:][: fault.get("stop", fault.get("hang"))]
        note.sent = len(part)  # before: who reads the last byte may look at the notes at once
        request.wfile.write(part)
        request.wfile.flush()
        if "hang" in fault:
            self.waiting.set()
            self.release.wait()
        return None

    def _end(self, request, status, **headers):
        self.answers.append(Answer(request.path, status))
        request.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            request.send_header(name, value)
        request.end_headers()
