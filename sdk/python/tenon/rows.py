"""One request per row, many at once: the engine does the batching, so the client only keeps enough of them in flight."""
from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from .errors import ApiError, ConnectionFailed, ConnectionLost, TenonError
from .transport import Transport, error_kind

Row = Union[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]

WINDOW = 64
ATTEMPTS_MAX = 4
RETRIED = (429, 503)


@dataclass
class RowResult:
    """What became of one row. Where it failed error is set, and value is not; error is never text of a model.

    key: the row's "key", else its number. value: the text of the first choice, None where it has none (a call of a
    tool). response: the server's whole answer.
    """
    key: Any
    value: Optional[str] = None
    error: Optional[str] = None
    error_code: Optional[int] = None
    finish_reason: Optional[str] = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0
    attempts: int = 0
    response: Optional[Dict[str, Any]] = None

    @property
    def ok(self) -> bool:
        return self.error is None


def records(rows: Any) -> Iterable[Row]:
    """Rows of a list, an iterator, or anything with pandas' to_dict("records")."""
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return rows.to_dict("records")  # type: ignore[no-any-return]
    if isinstance(rows, (str, Mapping)):
        raise TypeError("rows are a list: of prompts, of message lists, or of dicts with 'prompt' or 'messages'")
    return rows  # type: ignore[no-any-return]


def request_of(row: Row, index: int, service: str, params: Mapping[str, Any]) -> Tuple[Any, str, Dict[str, Any]]:
    """(key, path, body) of a row. A row's own fields go before `params`. What JSON cannot say raises."""
    key, path, body = _request_of(row, index, service, params)
    try:
        json.dumps(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"row {index} cannot be sent as JSON: {error}") from error
    return key, path, body


def _request_of(row: Row, index: int, service: str, params: Mapping[str, Any]) -> Tuple[Any, str, Dict[str, Any]]:
    if isinstance(row, str):
        return index, "/v1/completions", {"model": service, **params, "prompt": row}
    if isinstance(row, Mapping):
        fields = {name: value for name, value in row.items() if name != "key"}
        if ("prompt" in fields) == ("messages" in fields):
            raise ValueError(f"row {index} needs either 'prompt' or 'messages', has: {', '.join(map(str, fields)) or 'nothing'}")
        path = "/v1/chat/completions" if "messages" in fields else "/v1/completions"
        return row.get("key", index), path, {"model": service, **params, **fields}
    return index, "/v1/chat/completions", {"model": service, **params, "messages": list(row)}


def _fill(result: RowResult, answer: Mapping[str, Any]) -> None:
    choice = answer["choices"][0]
    message = choice.get("message")
    result.value = message.get("content") if message else choice.get("text")
    result.finish_reason = choice.get("finish_reason")
    usage = answer.get("usage") or {}
    result.prompt_tokens = usage.get("prompt_tokens", 0)
    result.completion_tokens = usage.get("completion_tokens", 0)
    result.response = dict(answer)


def _pause(attempt: int, retry_after: Optional[float], deadline: float) -> bool:
    """Waits before the next attempt, as long as the server asked for at least; False: the row's time would be over."""
    if retry_after is not None:
        wait = retry_after * (1 + 0.25 * random.random())
    else:
        wait = min(8.0, 0.25 * 2 ** attempt) * (0.75 + 0.5 * random.random())
    if time.monotonic() + wait >= deadline:
        return False
    time.sleep(wait)
    return True


def ask(transport: Transport, key: Any, path: str, body: Mapping[str, Any], deadline_s: float) -> RowResult:
    """One row, tried again only where trying again can help: nobody answers, 429, 503."""
    result = RowResult(key)
    begin = time.monotonic()
    deadline = begin + deadline_s
    while True:
        result.attempts += 1
        retry_after: Optional[float] = None
        try:
            left = max(0.001, deadline - time.monotonic())
            _fill(result, transport.request("POST", path, body, timeout=left))
            result.error = result.error_code = None
            break
        except ApiError as error:
            result.error, result.error_code = str(error), error.status
            retry_after = error.retry_after
            if error.status not in RETRIED:
                break
        except ConnectionFailed as error:
            result.error, result.error_code = str(error), None
        except ConnectionLost as error:
            result.error, result.error_code = str(error), None
            break
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            result.error, result.error_code = f"the server's answer has no choice ({error!r})", None
            result.value = None
            break
        if result.attempts > ATTEMPTS_MAX or not _pause(result.attempts, retry_after, deadline):
            break
    result.latency_ms = (time.monotonic() - begin) * 1000
    return result


def run_rows(transport: Transport, service: str, rows: Any, params: Optional[Mapping[str, Any]], *, window: int,
             deadline_s: float) -> List[RowResult]:
    """Results in the order of the rows. A row that is none (no prompt) is the caller's mistake and raises before
    anything is sent; 401, 403 and 404 concern every row and raise too."""
    prepared = [request_of(row, index, service, params or {}) for index, row in enumerate(records(rows))]
    results: List[RowResult] = []
    with ThreadPoolExecutor(max_workers=max(1, window)) as pool:
        waiting: Iterator[RowResult] = pool.map(
            lambda item: ask(transport, item[0], item[1], item[2], deadline_s), prepared)
        for result in waiting:
            if result.error_code in (401, 403, 404):
                pool.shutdown(wait=False, cancel_futures=True)
                raise error_kind(result.error_code)(result.error_code, result.error or "")
            results.append(result)
    return results


def check_systemic(results: Sequence[RowResult]) -> None:
    """Raises if every row failed without an answer: then it is not the rows."""
    if results and all(r.error and r.error_code is None for r in results):
        raise TenonError(f"no row was answered: {results[0].error}")
