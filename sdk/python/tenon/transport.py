"""HTTP to a daemon over its unix socket or over TCP: requests, errors, and answers that come line by line."""
from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
import urllib.parse
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Type, Union

from .errors import ApiError, ConnectionFailed, ConnectionLost, DoesNotFit, Exists, NotFound

DEFAULT_SERVER = "unix:/run/tenond.sock"
BACKLOG_PAUSE = 0.02
PIECE_BYTES = 1 << 16


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """A daemon whose queue of connections is full is waited for: with a timeout, the system itself does not."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        while True:
            try:
                return self.sock.connect(self._path)
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                time.sleep(BACKLOG_PAUSE)


class Transport:
    """Where a server is and who asks. Thread-safe: every request has a connection of its own.

    server: "unix:/run/tenond.sock", "http://host:port" or "https://host:port".
    token: as `tenon token create` printed it; None over a socket that needs none.
    timeout: seconds without a byte from the server; None: for ever.
    """

    def __init__(self, server: str = DEFAULT_SERVER, token: Optional[str] = None,
                 timeout: Optional[float] = 600) -> None:
        self.server = server
        self.token = token
        self.timeout = timeout
        if not server.startswith("unix:"):
            _check_url(server)
        elif not server[len("unix:"):]:
            raise ValueError(f"server {server!r} names no path; write unix:/run/tenond.sock")

    def _connect(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        if self.server.startswith("unix:"):
            return _UnixConnection(self.server[len("unix:"):], timeout)
        parts = urllib.parse.urlsplit(self.server)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(str(parts.hostname), parts.port, timeout=timeout)

    def open(self, method: str, path: str, body: Union[bytes, None], headers: Mapping[str, str],
             timeout: Optional[float]) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connect(timeout)
        sent = dict(headers)
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise ConnectionFailed(f"{self.server} does not answer ({error}); is `tenon daemon` running?") from error
        try:
            connection.request(method, path, body, sent)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ConnectionLost(f"{self.server} took the request but gave no answer ({error})") from error

    def request(self, method: str, path: str, body: Any = None, *, query: Optional[Mapping[str, Any]] = None,
                idempotency_key: Optional[str] = None, timeout: Optional[float] = None) -> Any:
        """Sends body as JSON, returns the answer's JSON (None: there was none)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return _decode(self.exchange(method, path, data, headers, query=query, timeout=timeout)[1])

    def ask(self, path: str, query: Mapping[str, Any]) -> Tuple[int, Any]:
        """GET: the status, which tells 200 from 202 and 204, and the answer's JSON."""
        status, answer = self.exchange("GET", path, None, {}, query=query)
        return status, _decode(answer)

    def exchange(self, method: str, path: str, data: Optional[bytes], headers: Mapping[str, str], *,
                 query: Optional[Mapping[str, Any]] = None, timeout: Optional[float] = None) -> Tuple[int, bytes]:
        """Status and bytes of an answer that is no error."""
        connection, response = self.open(method, _with_query(path, query), data, headers, timeout or self.timeout)
        with contextlib.closing(connection), contextlib.closing(response), self._unbroken():
            answer = response.read()
        if response.status >= 400:
            raise _error_of(response, answer)
        return response.status, answer

    def lines(self, path: str, *, query: Optional[Mapping[str, Any]] = None, endless: bool = False) -> Iterator[str]:
        """Lines of an answer as they come; one that breaks off raises, so that what came is all there is. endless:
        they may be as far apart as they like."""
        connection, response = self.open("GET", _with_query(path, query), None, {}, None if endless else self.timeout)
        with contextlib.closing(connection), contextlib.closing(response):
            if response.status >= 400:
                raise _error_of(response, b"".join(self._pieces(response)))
            begun: List[bytes] = []
            for piece in self._pieces(response):
                first, *others = piece.split(b"\n")
                begun.append(first)
                for other in others:
                    yield b"".join(begun).decode("utf-8", "replace")
                    begun = [other]
            if any(begun):
                yield b"".join(begun).decode("utf-8", "replace")

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The answer as it comes. Not by readline, which takes the end of a connection for that of the answer."""
        while True:
            with self._unbroken():
                piece = response.read1(PIECE_BYTES)
            if not piece:
                break
            yield piece
        if response.length:
            raise ConnectionLost(f"{self.server} broke off {response.length} bytes before the end of an answer")

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(f"{self.server} broke off in the middle of an answer ({error})") from error


def _check_url(server: str) -> None:
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"server {server!r} is neither unix:PATH nor http://HOST:PORT")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"server {server!r} has more than a host and a port; write {parts.scheme}://HOST:PORT, and a "
                         "token as token=")
    try:
        parts.port  # looked at, it raises where it is none
    except ValueError as error:
        raise ValueError(f"server {server!r}: {error}") from None


def quote(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def _with_query(path: str, query: Optional[Mapping[str, Any]]) -> str:
    kept = {key: value for key, value in (query or {}).items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(kept)}" if kept else path


def _decode(answer: bytes) -> Any:
    if not answer:
        return None
    try:
        return json.loads(answer)
    except ValueError as error:
        raise ApiError(502, f"the server's answer is not JSON: {answer[:200]!r}") from error


def error_kind(status: int) -> Type[ApiError]:
    kinds: Dict[int, Type[ApiError]] = {404: NotFound, 409: Exists}
    return kinds.get(status, ApiError)


def _error_of(response: http.client.HTTPResponse, answer: bytes) -> ApiError:
    try:
        body = json.loads(answer)
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    message = error.get("message") or answer[:500].decode("utf-8", "replace") or response.reason
    kind = error_kind(response.status)
    if response.status == 422 and isinstance(body, dict) and ("plan" in body or "verdict" in body):
        kind = DoesNotFit
    retry = response.getheader("Retry-After")
    return kind(response.status, str(message), str(error.get("type") or ""), error.get("param"), body,
                float(retry) if retry and retry.isdecimal() else None)
