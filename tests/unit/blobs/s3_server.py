"""A small S3 on this machine: objects, ranges, lists, uploads in parts, and the checksum of every body.

It refuses what is not signed, and bodies that are not what x-amz-checksum-sha256 says.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "an access key"
BUCKET = "audio"


class S3:
    """The server; `statuses` are answered to the next requests in the place of what they ask for."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.statuses: list[int] = []
        self.damaged = 0  # so many of the next bodies arrive with another first byte
        self.shortened = False  # objects are kept without their last byte
        self.asked: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(s3: S3) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one small protocol
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", headers.get("length", str(len(body))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def fail(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

        def begin(self) -> bool:
            parts = urlsplit(self.path)
            self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            self.name = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            s3.asked.append((self.command, self.name))
            if s3.statuses:
                self.fail(s3.statuses.pop(0), "SlowDown")
            elif not self.headers.get("Authorization", "").startswith(f"AWS4-HMAC-SHA256 Credential={KEY}/"):
                self.fail(403, "AccessDenied")
            elif self.command == "PUT" and not self.intact():
                self.fail(400, "BadDigest")
            else:
                return True
            return False

        def intact(self) -> bool:
            if s3.damaged:
                s3.damaged -= 1
                self.body = bytes([self.body[0] ^ 1]) + self.body[1:]
            told = self.headers.get("x-amz-checksum-sha256", "")
            return told == base64.b64encode(hashlib.sha256(self.body).digest()).decode()

        def do_PUT(self) -> None:
            if not self.begin():
                return
            if "partNumber" in self.query:
                s3.parts[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
            else:
                self.keep(self.body)
            told = self.headers["x-amz-checksum-sha256"]
            self.answer(200, ETag='"e"', x_amz_checksum_sha256=told)

        def keep(self, body: bytes) -> None:
            s3.objects[self.name] = (body[:-1] if s3.shortened else body, datetime.now(UTC))

        def do_POST(self) -> None:
            if not self.begin():
                return
            if "delete" in self.query:
                names = re.findall(r"<Key>([^<]+)</Key>", self.body.decode())
                for name in names:
                    s3.objects.pop(name, None)
                deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
                said = f"<DeleteResult>{deleted}</DeleteResult>"
            elif "uploads" in self.query:
                upload = str(len(s3.parts))
                s3.parts[upload] = {}
                said = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            else:
                parts = s3.parts.pop(self.query["uploadId"])
                self.keep(b"".join(parts[number] for number in sorted(parts)))
                said = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            self.answer(200, said.encode())

        def do_GET(self) -> None:
            if not self.begin():
                return
            if "list-type" in self.query:
                self.answer(200, _listed(s3))
            elif self.name not in s3.objects:
                self.fail(404, "NoSuchKey")
            else:
                self.give(*s3.objects[self.name])

        def do_HEAD(self) -> None:
            self.do_GET()

        def give(self, body: bytes, at: datetime) -> None:
            headers = {"ETag": '"e"', "Last_Modified": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if wanted is None:
                self.answer(200, body, length=str(len(body)), **headers)
                return
            start, end = int(wanted[1]), int(wanted[2])
            piece = body[start : end + 1]
            of = f"bytes {start}-{start + len(piece) - 1}/{len(body)}"
            self.answer(206, piece, Content_Range=of, **headers)

        def do_DELETE(self) -> None:
            if self.begin():  # an upload in parts is given up; objects are removed by POST
                s3.parts.pop(self.query["uploadId"], None)
                self.answer(204)

    return Handler


def _listed(s3: S3) -> bytes:
    rows = "".join(
        f"<Contents><Key>{name}</Key><Size>{len(body)}</Size><ETag>e</ETag>"
        f"<LastModified>{at.strftime('%Y-%m-%dT%H:%M:%S.000Z')}</LastModified></Contents>"
        for name, (body, at) in sorted(s3.objects.items())
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
