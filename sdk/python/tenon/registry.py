"""Models by name and version, and the services that run them."""
from __future__ import annotations

import os
import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional

from .batch import InputSpec, Job, JobSpec, OutputSpec, run_batch
from .errors import Damaged, NotFound
from .rows import RowResult
from .services import SERVICES, Service, settings_of
from .transport import DEFAULT_SERVER, Transport, error_kind, quote

MODELS = "/admin/v1/models"
OPERATIONS = "/admin/v1/operations/"


class Registry:
    """The models and services of one daemon.

    server: "unix:/run/tenond.sock" or "http://host:port". token: with the scopes of what is asked, infer, batch, admin.
    """

    def __init__(self, server: str = DEFAULT_SERVER, token: Optional[str] = None) -> None:
        self._transport = Transport(server, token)

    # ---- models ----

    def log_model(self, model: str, *, model_name: str, version_name: Optional[str] = None,
                  comment: Optional[str] = None, metrics: Optional[Mapping[str, Any]] = None,
                  tags: Optional[Mapping[str, str]] = None, alias: Optional[str] = None,
                  task: Optional[str] = None,
                  on_progress: Optional[Callable[[float], None]] = None) -> "ModelVersion":
        """Registers a model directory, a GGUF file or a model in a Hugging Face cache, by its path on the daemon's
        machine. Without version_name the next of v1, v2, ... is taken. on_progress is told how far it is, 0 to 1,
        about once a second; what it raises ends the wait, and not the work."""
        body: Dict[str, Any] = {"name": model_name, "path": os.path.abspath(model), "version": version_name,
                                "comment": comment, "metrics": dict(metrics) if metrics else None,
                                "tags": dict(tags) if tags else None, "alias": alias, "task": task}
        answer = self._transport.request("POST", MODELS, {k: v for k, v in body.items() if v is not None},
                                         query={"wait": 0} if on_progress else None,
                                         idempotency_key=str(uuid.uuid4()), timeout=24 * 3600)
        if on_progress:
            answer = self._follow(answer, on_progress)
        return ModelVersion(self._transport, model_name, answer["version"])

    def _follow(self, operation: Dict[str, Any], on_progress: Callable[[float], None]) -> Any:
        """What comes of an operation."""
        while operation["state"] == "running":
            on_progress(operation["progress"])
            operation = self._transport.request("GET", OPERATIONS + quote(operation["id"]), query={"wait": 1})
        if operation["state"] == "failed":
            error = operation["error"] or {}
            kind = error_kind(operation["code"])
            raise kind(operation["code"], str(error.get("message") or operation), str(error.get("type") or ""),
                       error.get("param"), {"error": error})
        on_progress(1.0)
        return operation["result"]

    def models(self) -> List["Model"]:
        return [Model(self._transport, entry["name"]) for entry in self.show_models()]

    def show_models(self) -> List[Dict[str, Any]]:
        return self._transport.request("GET", MODELS)["models"]  # type: ignore[no-any-return]

    def get_model(self, model_name: str) -> "Model":
        model = Model(self._transport, model_name)
        model.show()
        return model

    def delete_model(self, model_name: str) -> None:
        """All versions, oldest first; stops at one that a service runs, with ApiError."""
        model = Model(self._transport, model_name)
        for version in model.versions():
            model.delete_version(version.version_name)

    # ---- services and pools ----

    def get_service(self, service_name: str) -> Service:
        service = Service(self._transport, service_name)
        service.status()
        return service

    def list_services(self) -> List[Dict[str, Any]]:
        return self._transport.request("GET", SERVICES)["services"]  # type: ignore[no-any-return]

    def pools(self) -> List[Dict[str, Any]]:
        return self._transport.request("GET", "/admin/v1/pools")["pools"]  # type: ignore[no-any-return]


class Model:
    """A name in the registry, with its versions."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self.name = name

    def __repr__(self) -> str:
        return f"Model({self.name!r})"

    @property
    def _path(self) -> str:
        return f"{MODELS}/{quote(self.name)}"

    def show(self) -> Dict[str, Any]:
        """Name, default, and versions with their aliases, oldest first."""
        return self._transport.request("GET", self._path)  # type: ignore[no-any-return]

    def show_versions(self) -> List[Dict[str, Any]]:
        return self.show()["versions"]  # type: ignore[no-any-return]

    def versions(self) -> List["ModelVersion"]:
        return [ModelVersion(self._transport, self.name, entry["version"]) for entry in self.show_versions()]

    def version(self, version_or_alias: str) -> "ModelVersion":
        shown = self.show_versions()
        for entry in shown:
            if version_or_alias == entry["version"] or version_or_alias in entry["aliases"]:
                return ModelVersion(self._transport, self.name, entry["version"])
        raise NotFound(404, f"{self.name} has no version or alias {version_or_alias!r}; it has "
                            + ", ".join(entry["version"] for entry in shown))

    def first(self) -> "ModelVersion":
        return self.versions()[0]

    def last(self) -> "ModelVersion":
        return self.versions()[-1]

    @property
    def default(self) -> "ModelVersion":
        return ModelVersion(self._transport, self.name, self.show()["default"])

    @default.setter
    def default(self, version: Any) -> None:
        name = version.version_name if isinstance(version, ModelVersion) else str(version)
        self._transport.request("PUT", f"{self._path}/default", {"version": name})

    def delete_version(self, version_name: str) -> None:
        self._transport.request("DELETE", f"{self._path}/versions/{quote(version_name)}")


class ModelVersion:
    """One version: it never changes, only its aliases do."""

    def __init__(self, transport: Transport, model_name: str, version_name: str) -> None:
        self._transport = transport
        self.model_name = model_name
        self.version_name = version_name

    def __repr__(self) -> str:
        return f"ModelVersion({self.model_name!r}, {self.version_name!r})"

    @property
    def fully_qualified_name(self) -> str:
        return f"{self.model_name}@{self.version_name}"

    @property
    def _path(self) -> str:
        return f"{MODELS}/{quote(self.model_name)}/versions/{quote(self.version_name)}"

    def show(self) -> Dict[str, Any]:
        """Digest, files, sizes, what the checkpoint holds, tags, metrics, comment."""
        return self._transport.request("GET", self._path)  # type: ignore[no-any-return]

    def show_metrics(self) -> Dict[str, Any]:
        return self.show().get("metrics") or {}

    @property
    def comment(self) -> Optional[str]:
        return self.show().get("comment")

    def set_alias(self, alias: str) -> None:
        self._transport.request("PUT", f"{MODELS}/{quote(self.model_name)}/aliases/{quote(alias)}",
                                {"version": self.version_name})

    def unset_alias(self, alias: str) -> None:
        self._transport.request("DELETE", f"{MODELS}/{quote(self.model_name)}/aliases/{quote(alias)}")

    def verify(self, *, deep: bool = False) -> Dict[str, Any]:
        """Hashes every file again; deep: opens the model too. Raises Damaged when something is."""
        report: Dict[str, Any] = self._transport.request("POST", f"{self._path}/verify", {"deep": deep},
                                                         timeout=24 * 3600)
        if report["damaged"]:
            faults = [fault for version in report["versions"] for fault in version["damage"]]
            raise Damaged(f"{self.fully_qualified_name} is damaged: {'; '.join(faults)}", report)
        return report

    def plan(self, *, pool: str, max_model_len: Optional[int] = None, concurrency: Optional[int] = None,
             tp: Optional[int] = None, util: Optional[float] = None, kv_dtype: Optional[str] = None) -> Dict[str, Any]:
        """Whether and how it fits a pool, from the headers alone: verdict, strategy, bytes, what would help."""
        body = {"model": self.fully_qualified_name, "pool": pool, "max_model_len": max_model_len,
                "concurrency": concurrency, "tp": tp, "util": util, "kv_dtype": kv_dtype}
        return self._transport.request("POST", "/admin/v1/plan",  # type: ignore[no-any-return]
                                       {k: v for k, v in body.items() if v is not None})

    # ---- services ----

    def create_service(self, *, service_name: str, service_compute_pool: str, gpu_requests: Optional[int] = None,
                       min_instances: int = 0, max_instances: int = 1,
                       inference_engine_options: Optional[Mapping[str, Any]] = None,
                       autosuspend_secs: Optional[int] = None, replace: bool = False, block: bool = True,
                       timeout: float = 900) -> Service:
        """An endpoint for this version on a pool. block: returns when it is READY, or raises ServiceFailed. Raises
        DoesNotFit, with the plan, before anything is started. replace: updates the one that is there; a suspended one
        stays so."""
        body: Dict[str, Any] = {"name": service_name, "model": self.fully_qualified_name,
                                "pool": service_compute_pool, "gpus": gpu_requests, "min": min_instances,
                                "max": max_instances, "autosuspend": autosuspend_secs,
                                "settings": settings_of(inference_engine_options) or None,
                                "replace": replace or None}
        self._transport.request("POST", SERVICES, {k: v for k, v in body.items() if v is not None},
                                idempotency_key=str(uuid.uuid4()))
        service = Service(self._transport, service_name)
        if block:
            service.wait("READY", timeout, or_suspended=replace)
        return service

    def list_services(self) -> List[Dict[str, Any]]:
        """Services that run this very version."""
        digest = self.show()["digest"]
        shown = self._transport.request("GET", SERVICES)["services"]
        return [service for service in shown if service.get("digest") == digest]

    def delete_service(self, service_name: str) -> None:
        Service(self._transport, service_name).delete()

    def run(self, X: Any, *, service_name: str, params: Optional[Mapping[str, Any]] = None,
            strict_input_validation: bool = False) -> List[RowResult]:
        """Service.run of one of this version's services. strict_input_validation: refuse where the service runs
        another version."""
        service = Service(self._transport, service_name)
        if strict_input_validation and service.status().get("digest") != self.show()["digest"]:
            raise ValueError(f"service {service_name} does not run {self.fully_qualified_name}")
        return service.run(X, params)

    def run_batch(self, X: Any, *, service_name: str, output_spec: OutputSpec,
                  input_spec: Optional[InputSpec] = None, job_spec: Optional[JobSpec] = None) -> Job:
        """Rows as a job of the daemon that outlives this process, see batch.run_batch."""
        return run_batch(self._transport, service_name, X, output_spec, input_spec or InputSpec(),
                         job_spec or JobSpec())
