"""What can go wrong, by what a caller would do about it."""
from __future__ import annotations

from typing import Any, Optional


class TenonError(Exception):
    """Anything that Tenon, or the way to it, refused."""


class ConnectionFailed(TenonError):
    """Nobody answers at the server's address."""


class ConnectionLost(TenonError):
    """The connection broke, or fell silent, after the request was sent."""


class ApiError(TenonError):
    """The server answered with an error: its HTTP status, sentence, type and the field at fault."""

    def __init__(self, status: int, message: str, kind: str = "", param: Optional[str] = None, body: Any = None,
                 retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.body = body
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: there is no such model, version, service or job."""


class Exists(ApiError):
    """409: the name is taken, or what is in the way is named in the message."""


class DoesNotFit(ApiError):
    """422 with a plan: the model does not fit the pool; `plan` has the numbers and what would help."""

    @property
    def plan(self) -> Any:
        return self.body.get("plan", self.body) if isinstance(self.body, dict) else self.body


class ServiceFailed(TenonError):
    """A service that was waited for came to FAILED; `status` is what it says of itself."""

    def __init__(self, message: str, status: Any) -> None:
        super().__init__(message)
        self.status = status


class Damaged(TenonError):
    """Stored files are not what was stored; `report` says of which version which."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class Timeout(TenonError):
    """What was waited for did not come in time."""
