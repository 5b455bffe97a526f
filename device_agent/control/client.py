"""A small client of the control socket, for the command line and for other programs.

from device_agent.control.client import Client

with Client() as device:
    device.ask("volume", level=40)
    print(device.ask("status")["state"])
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from device_agent.control import LINE_BYTES
from device_agent.errors import PermissionDenied, ServiceError, UsageError

NAME = "control.sock"
SYSTEM = Path("/run/device-agent") / NAME
PATIENCE_S = 5.0


def socket_path(environ: Mapping[str, str]) -> Path | None:
    """Where a device that runs with these variables listens; None where there is no place for it."""
    if environ.get("RUNTIME_DIRECTORY"):
        return Path(environ["RUNTIME_DIRECTORY"].partition(":")[0], NAME)
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "device-agent", NAME)
    return None


def find(environ: Mapping[str, str]) -> Path:
    """The socket of the device that runs here: this user's own, else the system's."""
    own = socket_path(environ)
    return own if own is not None and _listens(own) else SYSTEM


def _listens(path: Path) -> bool:
    """Whether somebody is there: a device that was killed leaves its socket behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE_S)
        return probe.connect_ex(str(path)) == 0


class Client:
    """One connection. Raises `ServiceError` where no device listens, `PermissionDenied` where it may not be asked."""

    def __init__(self, path: Path | None = None) -> None:
        path = path or find(os.environ)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.connect(str(path))
        except PermissionError:
            self._socket.close()
            raise PermissionDenied(f"{path}: join the group device-agent (or use sudo)") from None
        except OSError as error:
            self._socket.close()
            raise ServiceError(
                f"no device listens at {path} ({error.strerror}): systemctl status device-agent"
            ) from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask or order; the answer's fields. Raises `UsageError` with the device's reason if it refuses."""
        line = json.dumps({"do": do, **fields}, ensure_ascii=False).encode(errors="replace") + b"\n"
        if len(line) > LINE_BYTES:
            raise UsageError(f"this is longer than {LINE_BYTES} bytes, the device's limit: make it shorter")
        try:
            self._socket.sendall(line)
        except OSError as error:  # it may have hung up: it has too many clients, or it ends
            raise ServiceError(f"the device does not answer ({error})") from None
        while True:
            answer = self._line()
            if "ok" in answer:
                break
        if not answer.pop("ok"):
            raise UsageError(str(answer.get("error")))
        return answer

    def news(self) -> Iterator[dict[str, Any]]:
        """Subscribe; then whatever happens, until the device ends. Each has an "event"."""
        self.ask("subscribe")
        self._socket.settimeout(None)
        while True:
            try:
                yield self._line()
            except ServiceError:
                return

    def _line(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError as error:
            raise ServiceError(f"the device does not answer ({error})") from None
        if not line:
            raise ServiceError("the device has closed the connection")
        answer: dict[str, Any] = json.loads(line)
        return answer
