"""Many rows as one job that the daemon keeps: OpenAI's /v1/files and /v1/batches underneath."""
from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .errors import TenonError, Timeout
from .rows import records, request_of
from .transport import Transport, quote

ENDED = ("completed", "failed", "expired", "cancelled")
_TIMES = ("created_at", "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at",
          "cancelled_at")


@dataclass
class InputSpec:
    """params: fields of every request, {"max_tokens": 64}."""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class OutputSpec:
    """Where results go: a JSON Lines file on this machine. mode: "error" if it exists, or "overwrite"."""
    path: str
    mode: str = "error"


@dataclass
class JobSpec:
    """block: run_batch returns when the job has ended and its output is written."""
    block: bool = False
    timeout: float = 24 * 3600


class Job:
    """A job of the daemon, by id."""

    def __init__(self, transport: Transport, job_id: str, output: Optional[OutputSpec] = None) -> None:
        self._transport = transport
        self.id = job_id
        self._output = output

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def show(self) -> Dict[str, Any]:
        return self._transport.request("GET", f"/v1/batches/{quote(self.id)}")  # type: ignore[no-any-return]

    @property
    def status(self) -> str:
        return str(self.show()["status"])

    def get_logs(self, limit: int = -1) -> str:
        """What there is to say of the job, a line each: when it came into which state, how far it is, what is wrong.
        limit: of the last lines; -1: all."""
        shown = self.show()
        steps = sorted((shown[name], name[:-len("_at")]) for name in _TIMES if shown.get(name))
        lines = [f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))} {state}" for at, state in steps]
        counts = shown.get("request_counts") or {"total": 0, "completed": 0, "failed": 0}
        lines.append(f"{shown['status']}: {counts['completed']} of {counts['total']} rows answered, {counts['failed']} failed")
        for error in (shown.get("errors") or {}).get("data") or []:
            place = f"line {error['line']}: " if error.get("line") else ""
            lines.append(f"{error.get('code')}: {place}{error.get('message')}")
        return "\n".join(lines if limit < 0 else lines[len(lines) - min(limit, len(lines)):])

    def cancel(self) -> None:
        """No more rows are asked; what has been answered is kept. wait() says when it has come to its end."""
        self._transport.request("POST", f"/v1/batches/{quote(self.id)}/cancel", {})

    def wait(self, timeout: float = 24 * 3600) -> Dict[str, Any]:
        """Until the job has ended; then its output is written to output_spec's file, if there was one. A job that ended
        without any answer or error of a row leaves no file: its "status" and get_logs() say why."""
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            shown = self.show()
            if shown["status"] in ENDED:
                self._write(shown)
                return shown
            if time.monotonic() >= deadline:
                raise Timeout(f"job {self.id} is {shown['status']} after {timeout:.0f} s: {shown.get('request_counts')}")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def result(self) -> Iterator[Dict[str, Any]]:
        """Every row that has ended, failed ones after the others: {"custom_id", "response": {"status_code", "body"}, "error"}. What
        the server refused has its status and error in "response"; what no status came for has an "error" alone, as have rows that
        were never asked, for the job was cancelled ("code": "batch_cancelled") or its time was over ("batch_expired")."""
        shown = self.show()
        for name in ("output_file_id", "error_file_id"):
            if shown.get(name):
                yield from self._lines(shown[name])

    def _lines(self, file_id: str) -> Iterator[Dict[str, Any]]:
        for line in self._transport.lines(f"/v1/files/{quote(file_id)}/content"):
            if line:
                yield json.loads(line)

    def _write(self, shown: Mapping[str, Any]) -> None:
        if self._output is None or not (shown.get("output_file_id") or shown.get("error_file_id")):
            return
        part = f"{self._output.path}.{uuid.uuid4().hex}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                for row in self.result():
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            if self._output.mode == "error":
                os.link(part, self._output.path)  # refuses what has come meanwhile
            else:
                os.replace(part, self._output.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
        self._output = None


def _input_lines(service: str, rows: Any, params: Mapping[str, Any]) -> bytes:
    lines: List[str] = []
    paths = set()
    seen = set()
    for index, row in enumerate(records(rows)):
        key, path, body = request_of(row, index, service, params)
        if str(key) in seen:
            raise ValueError(f"row {index} has the key {key!r} of an earlier row; keys name the results")
        seen.add(str(key))
        paths.add(path)
        lines.append(json.dumps({"custom_id": str(key), "method": "POST", "url": path, "body": body},
                                ensure_ascii=False))
    if len(paths) > 1:
        raise ValueError("the rows of a job are either prompts or message lists, not both")
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _upload(transport: Transport, data: bytes) -> str:
    boundary = uuid.uuid4().hex
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n'
            f'Content-Type: application/jsonl\r\n\r\n').encode() + data + f"\r\n--{boundary}--\r\n".encode()
    answer = transport.exchange("POST", "/v1/files", body,
                                {"Content-Type": f"multipart/form-data; boundary={boundary}"})[1]
    return str(json.loads(answer)["id"])


def run_batch(transport: Transport, service: str, rows: Any, output: OutputSpec, input_spec: InputSpec,
              job_spec: JobSpec) -> Job:
    """Hands the rows to the daemon and returns the job; the job goes on when this process ends."""
    if output.mode not in ("error", "overwrite"):
        raise ValueError(f"output_spec.mode is {output.mode!r}; it is 'error' or 'overwrite'")
    if output.mode == "error" and os.path.exists(output.path):
        raise FileExistsError(f"{output.path} exists; choose another path, or mode='overwrite'")
    folder = os.path.dirname(os.path.abspath(output.path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{output.path}: there is no folder {folder}; make it first")
    data = _input_lines(service, rows, input_spec.params)
    if not data:
        raise TenonError("there are no rows")
    endpoint = json.loads(data[:data.index(b"\n")])["url"]
    file_id = _upload(transport, data)
    answer = transport.request("POST", "/v1/batches", {"input_file_id": file_id, "endpoint": endpoint,
                                                        "completion_window": "24h"})
    job = Job(transport, answer["id"], output)
    if job_spec.block:
        job.wait(job_spec.timeout)
    return job
