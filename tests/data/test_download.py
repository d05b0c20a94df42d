"""The download against a small web server on this machine that behaves badly on request."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lthdepth.data.nyu import download
from lthdepth.errors import UserError

CONTENT = np.random.Generator(np.random.Philox(1)).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BODIES = {"other": CONTENT[::-1], "html": b"<!DOCTYPE html><html><body>Please log in</body></html>"}


class Handler(BaseHTTPRequestHandler):
    """/good; /cut: breaks after 1 MB; /whole: knows no ranges; /other: wrong bytes; /html: a web page."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        name, asked = self.path[1:], self.headers["Range"]
        self.server.seen.append(asked)
        if name == "missing":
            self.send_error(404)
            return
        body = BODIES.get(name, CONTENT)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if name != "whole" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + 1_000_000 if name == "cut" else None])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Function from a name to the file it gives; `.seen`: what was asked for; `.out`, `.part`."""
    monkeypatch.setenv("no_proxy", "*")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.seen, out = [], tmp_path / "data" / "file.mat"
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()

    def get(name):
        return download(out, f"http://127.0.0.1:{web.server_port}/{name}", len(CONTENT), SHA256)

    get.seen, get.out, get.part = web.seen, out, out.with_name("file.mat.part")
    yield get
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize("name", ["good", "whole"])
def test_fetches_once_and_puts_in_place_what_is_begun_or_not(server, name):
    if name == "whole":  # a server without ranges starts over
        server.out.parent.mkdir()
        server.part.write_bytes(b"x" * 500)
    assert server(name) == server.out and server.out.read_bytes() == CONTENT
    assert [path.name for path in server.out.parent.iterdir()] == ["file.mat"]
    assert server(name) == server.out and len(server.seen) == 1


def test_a_broken_connection_is_resumed_where_it_broke(server):
    for _ in range(2):
        with pytest.raises(UserError, match="the connection broke.*try again.*by hand from https"):
            server("cut")
    server("cut")
    assert server.out.read_bytes() == CONTENT
    assert server.seen == ["bytes=0-", "bytes=1000000-", "bytes=2000000-"]


@pytest.mark.parametrize(
    "name, reason",
    [("other", "not the official file"), ("html", "has not 3000000 bytes"), ("missing", "404")],
)
def test_what_is_not_the_file_is_refused(server, name, reason):
    with pytest.raises(UserError, match=reason):
        server(name)
    assert not server.out.exists()
