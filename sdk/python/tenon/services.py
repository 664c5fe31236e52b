"""A service: a model on a pool under a name, and how to talk to it."""
from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from .errors import ServiceFailed, Timeout
from .rows import WINDOW, RowResult, check_systemic, run_rows
from .transport import Transport, quote

SERVICES = "/admin/v1/services"


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
    name, separator, value = argument.partition("=")
    if not name.startswith("--") or not separator or not name.strip("-").replace("-", "").isalnum():
        raise ValueError(f"engine_args_override: {argument!r} is not of the form --name=value")
    return name[2:].replace("-", "_"), value


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

    def wait(self, state: str = "READY", timeout: float = 900) -> Dict[str, Any]:
        """Until the service is in `state`. Raises ServiceFailed when it fails on the way, Timeout after `timeout`
        seconds."""
        deadline = time.monotonic() + timeout
        pause = 0.05
        while True:
            status = self.status()
            if status["state"] == state:
                return status
            if status["state"] == "FAILED":
                raise ServiceFailed(f"service {self.name} is FAILED: {status.get('message')}", status)
            if time.monotonic() >= deadline:
                raise Timeout(f"service {self.name} is {status['state']} after {timeout:.0f} s, not {state}: "
                              f"{status.get('message')}")
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)

    def logs(self, *, follow: bool = False, instance: Optional[str] = None,
             since: Optional[int] = None) -> Iterator[str]:
        """Lines of its engines' logs, oldest first. since: milliseconds since 1970."""
        query = {"follow": 1 if follow else None, "instance": instance, "since": since}
        return self._transport.lines(f"{self._path}/logs", query=query)

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
        drains. inference_engine_options take the place of all earlier ones."""
        body: Dict[str, Any] = {"model": model, "gpus": gpu_requests, "autosuspend": autosuspend_secs}
        if inference_engine_options is not None:
            body["settings"] = settings_of(inference_engine_options)
        self._transport.request("PATCH", self._path, {k: v for k, v in body.items() if v is not None})
        if block:
            self.wait("READY", timeout)

    def delete(self, *, drain_secs: Optional[int] = None) -> None:
        self._transport.request("DELETE", self._path, query={"drain": drain_secs, "wait": 600})

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
