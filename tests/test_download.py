"""The download against a small web server on this machine that behaves badly on request."""

import hashlib
import shutil
import socket
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lthdepth.data import download as module
from lthdepth.data.download import download
from lthdepth.errors import UserError

CONTENT = np.random.Generator(np.random.Philox(1)).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>" * 60_000


class Handler(BaseHTTPRequestHandler):
    """/good; /cut: breaks after 1 MB of each answer; /whole: knows no ranges and breaks once; /other: wrong
    bytes; /html: a web page; /disguised: one under another type; /short: another size; /busy: 503 once."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        name, asked = self.path[1:], self.headers.get("Range")
        self.server.seen.append((name, asked))
        body = (
            CONTENT
            if name in ("good", "cut", "whole", "busy")
            else {
                "other": CONTENT[::-1],
                "html": PAGE,
                "disguised": PAGE[: len(CONTENT)],
                "short": CONTENT[:-1],
            }.get(name)
        )
        again = sum(seen == name for seen, _ in self.server.seen) > 1
        if body is None or name == "busy" and not again:
            self.send_error(503 if body else 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and name != "whole" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if name == "html" else "application/octet-stream")
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        stop = start + 1_000_000 if name == "cut" or name == "whole" and not again else len(body)
        try:
            self.wfile.write(body[start:stop])
        except ConnectionError:
            pass  # the client has seen enough


Server = namedtuple("Server", "get seen out part")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.seen = []
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    out = tmp_path / "data" / "file.mat"

    def get(*names, **options):
        mirrors = [f"http://127.0.0.1:{web.server_port}/{name}" for name in names]
        return download(out, mirrors, False, len(CONTENT), SHA256, wait=0, **options)

    yield Server(get, web.seen, out, out.with_name("file.mat.part"))
    web.shutdown()
    web.server_close()


def test_fetches_and_puts_in_place(server):
    assert server.get("good") == server.out
    assert server.out.read_bytes() == CONTENT
    assert [path.name for path in server.out.parent.iterdir()] == ["file.mat"]


def test_a_file_already_there_is_not_fetched_again(server):
    server.get("good")
    assert server.get("good") == server.out and len(server.seen) == 1


def test_broken_connections_are_resumed_where_they_broke(server):
    server.get("cut", retries=1)
    assert server.out.read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == ["bytes=0-", "bytes=1000000-", "bytes=2000000-"]


def test_an_earlier_attempt_is_continued(server):
    server.out.parent.mkdir()
    server.part.write_bytes(CONTENT[:2_500_000])
    server.get("good")
    assert server.out.read_bytes() == CONTENT and server.seen == [("good", "bytes=2500000-")]


def test_a_server_without_ranges_starts_over(server):
    server.get("whole")
    assert server.out.read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == ["bytes=0-", "bytes=1000000-"]


def test_a_bad_earlier_attempt_is_thrown_away(server):
    server.out.parent.mkdir()
    server.part.write_bytes(b"x" * 2_000_000)
    server.get("good")
    assert server.out.read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == ["bytes=2000000-", "bytes=0-"]


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_complete_but_wrong_or_too_long_part_is_fetched_anew(server, length):
    server.out.parent.mkdir()
    server.part.write_bytes(b"x" * length)
    server.get("good")
    assert server.out.read_bytes() == CONTENT


def test_a_complete_part_needs_no_connection(server):
    server.out.parent.mkdir()
    server.part.write_bytes(CONTENT)
    server.get("good")
    assert server.out.read_bytes() == CONTENT and server.seen == []


@pytest.mark.parametrize(
    "name, reason",
    [
        ("other", "another SHA-256"),
        ("html", "web page"),
        ("disguised", "web page"),
        ("short", "2999999 bytes"),
        ("missing", "HTTP 404"),
    ],
)
def test_what_is_not_the_file_is_refused(server, name, reason):
    with pytest.raises(UserError, match=reason) as caught:
        server.get(name)
    assert not server.out.exists() and not server.part.exists()
    assert len(server.seen) == 1
    for advice in (module.PAGE, str(server.out), f"python -m lthdepth data {server.out}"):
        assert advice in str(caught.value)


def test_the_next_mirror_is_tried(server):
    server.get("missing", "html", "other", "good")
    assert server.out.read_bytes() == CONTENT
    assert [name for name, _ in server.seen] == ["missing", "html", "other", "good"]


def test_a_busy_server_is_asked_again(server):
    server.get("busy")
    assert server.out.read_bytes() == CONTENT and len(server.seen) == 2


def test_retries_are_bounded_and_what_came_is_kept(server):
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        server.out.parent.mkdir()
        server.part.write_bytes(CONTENT[:100])
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/good"
        with pytest.raises(UserError, match="refused"):
            download(server.out, [dead], False, len(CONTENT), SHA256, retries=2, wait=0)
    assert server.part.read_bytes() == CONTENT[:100]


def test_too_little_space_is_said_before_anything_is_fetched(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1_000))
    with pytest.raises(UserError, match="free some space"):
        server.get("good")
    assert server.seen == []


def test_another_file_in_its_place_is_left_alone(server):
    server.out.parent.mkdir()
    server.out.write_bytes(b"mine")
    with pytest.raises(UserError, match="not the official file"):
        server.get("good")
    assert server.out.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_said(server):
    server.out.parent.write_bytes(b"a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        server.get("good")


def test_the_values_of_the_official_file():
    assert module.SIZE == 2_972_037_809
    assert module.SHA256 == "2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa"
    assert all(mirror.endswith("/nyu_depth_v2_labeled.mat") for mirror in module.MIRRORS)
