"""Tenon from Python: models, services and rows of a daemon. Standard library only.

    from tenon import Registry
    registry = Registry("unix:/run/tenond.sock")
    version = registry.log_model("/models/SmolLM2", model_name="smol")
    service = version.create_service(service_name="chat", service_compute_pool="cpu")
    for result in service.run(["The capital of France is", "Water is made of"], params={"max_tokens": 8}):
        print(result.value if result.ok else result.error)
"""
from .batch import InputSpec, Job, JobSpec, OutputSpec
from .errors import (ApiError, ConnectionFailed, ConnectionLost, Damaged, DoesNotFit, Exists, NotFound, ServiceFailed, TenonError,
                     Timeout)
from .registry import Model, ModelVersion, Registry
from .rows import RowResult
from .services import Service

__all__ = ["ApiError", "ConnectionFailed", "ConnectionLost", "Damaged", "DoesNotFit", "Exists", "InputSpec", "Job", "JobSpec", "Model",
           "ModelVersion", "NotFound", "OutputSpec", "Registry", "RowResult", "Service", "ServiceFailed", "TenonError",
           "Timeout"]
