"""A service: a model on a pool under a name, and how to talk to it."""
from __future__ import annotations

import re
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from .errors import ServiceFailed, Timeout
from .rows import WINDOW, RowResult, check_systemic, run_rows
from .transport import Transport, quote

SERVICES = "/admin/v1/services"
MOMENT = 2.0  # seconds that the daemon waits at a time
PAUSE = 0.05


def settings_of(options: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Settings of engine options, from {"max_model_len": 8192}, or from
    {"engine_args_override": ["--max-model-len=8192"]} as it is written elsewhere. What is neither raises."""
    settings: Dict[str, Any] = {}
    for key, value in (options or {}).items():
        if key == "engine_args_override":
            settings.update(_setting_of_argument(argument) for argument in value)
        elif key.startswith("-") or "=" in key:
            raise ValueError(f"inference_engine_options: {key!r} is no name of a setting; "
                             "write {'max_model_len': 8192}")
        else:
            settings[key] = value
    return settings


def _setting_of_argument(argument: str) -> Tuple[str, str]:
    found = re.fullmatch(r"--([A-Za-z0-9][A-Za-z0-9_-]*)=(.*)", argument, re.DOTALL)
    if not found:
        raise ValueError(f"engine_args_override: {argument!r} is not of the form --name=value")
    return found[1].replace("-", "_"), found[2]


class Service:
    """One service of a daemon, by name; asks the daemon anew for everything."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self.name = name

    def __repr__(self) -> str:
        return f"Service({self.name!r})"

    @property
    def _path(self) -> str:
        return f"{SERVICES}/{quote(self.name)}"

    # ---- what it is ----

    def status(self) -> Dict[str, Any]:
        """All that the daemon says: state, message, progress, instances, the last lines of the log."""
        return self._transport.request("GET", self._path)  # type: ignore[no-any-return]

    @property
    def state(self) -> str:
        return str(self.status()["state"])

    def wait(self, state: str = "READY", timeout: float = 900, *, or_suspended: bool = False) -> Dict[str, Any]:
        """Until the service is in `state`; READY: with every instance as the last update wants it. or_suspended: one
        that rests is as good. Raises ServiceFailed when it, or that update, has failed, Timeout after `timeout`
        seconds."""
        deadline = time.monotonic() + timeout
        while True:
            code, status = self._ask_for(state, deadline)
            now = status["state"]
            late = code == 202  # else the state has come, or the daemon says that it will not
            if (now == state and not (late and state == "READY")) or (or_suspended and now == "SUSPENDED"):
                return status  # type: ignore[no-any-return]
            if now == "FAILED" or (now == "DEGRADED" and state == "READY" and not late):
                raise ServiceFailed(f"service {self.name} is {now}: {status.get('message')}", status)
            if time.monotonic() >= deadline:
                raise Timeout(f"service {self.name} is {now} after {timeout:.0f} s, not {state}: {status.get('message')}")
            time.sleep(PAUSE)

    def _ask_for(self, state: str, deadline: float) -> Tuple[int, Any]:
        """What the daemon says, at the latest after a moment: 200 where there is nothing to wait for, else 202."""
        moment = min(MOMENT, max(0.001, deadline - time.monotonic()))
        return self._transport.ask(self._path, {"wait": round(moment, 3), "state": state})

    def logs(self, *, follow: bool = False, instance: Optional[str] = None,
             since: Optional[float] = None) -> Iterator[str]:
        """Lines of its engines' logs, oldest first. since: seconds since 1970, as time.time() counts them."""
        query = {"follow": 1 if follow else None, "instance": instance, "since": since}
        return self._transport.lines(f"{self._path}/logs", query=query, endless=follow)

    # ---- what it should be ----

    def suspend(self, *, block: bool = True, timeout: float = 300) -> None:
        """Ends its engines and frees their memory; the next request, or resume, brings them back."""
        self._transport.request("POST", f"{self._path}:suspend", {})
        if block:
            self.wait("SUSPENDED", timeout)

    def resume(self, *, block: bool = True, timeout: float = 900) -> None:
        self._transport.request("POST", f"{self._path}:resume", {})
        if block:
            self.wait("READY", timeout)

    def scale(self, *, min_instances: Optional[int] = None, max_instances: Optional[int] = None) -> None:
        body = {"min": min_instances, "max": max_instances}
        self._transport.request("POST", f"{self._path}:scale", {k: v for k, v in body.items() if v is not None})

    def update(self, *, model: Optional[str] = None, gpu_requests: Optional[int] = None,
               inference_engine_options: Optional[Mapping[str, Any]] = None,
               autosuspend_secs: Optional[int] = None, block: bool = True, timeout: float = 900) -> None:
        """Another version or other settings without a dropped request: the new engine is ready before the old one
        drains. inference_engine_options take the place of all earlier ones. block: returns when nothing but what was
        asked for runs, or raises ServiceFailed; a suspended service stays so."""
        body: Dict[str, Any] = {"model": model, "gpus": gpu_requests, "autosuspend": autosuspend_secs}
        if inference_engine_options is not None:
            body["settings"] = settings_of(inference_engine_options)
        self._transport.request("PATCH", self._path, {k: v for k, v in body.items() if v is not None})
        if block:
            self.wait("READY", timeout, or_suspended=True)

    def delete(self, *, drain_secs: Optional[int] = None, timeout: float = 900) -> None:
        """Returns when it is gone, or raises Timeout. drain_secs: that running requests get."""
        self._transport.request("DELETE", self._path, query={"drain": drain_secs})
        deadline = time.monotonic() + timeout
        while self._ask_for("DELETING", deadline)[0] != 204:
            if time.monotonic() >= deadline:
                raise Timeout(f"service {self.name} is not gone after {timeout:.0f} s: its last requests still run")
            time.sleep(PAUSE)

    # ---- talking to it ----

    def run(self, rows: Any, params: Optional[Mapping[str, Any]] = None, *, window: int = WINDOW,
            row_timeout: float = 600) -> List[RowResult]:
        """One answer per row, in order. rows: prompts, message lists, dicts with "prompt" or "messages" (and "key"),
        or a data frame of such columns. params: fields of the request, {"max_tokens": 64, "temperature": 0}. A row
        that fails has its error in its result; what concerns all rows raises."""
        results = run_rows(self._transport, self.name, rows, params, window=window, deadline_s=row_timeout)
        check_systemic(results)
        return results

    def chat(self, messages: Any, **params: Any) -> Dict[str, Any]:
        """One chat completion, as OpenAI's API answers it. messages: a text, or a list of {"role", "content"}."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        body = {"model": self.name, "messages": messages, **params}
        return self._transport.request("POST", "/v1/chat/completions", body)  # type: ignore[no-any-return]
