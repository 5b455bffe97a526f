"""The two lines into the virtual machine, both JSON over a socket: to its guest agent, and to qemu itself."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = "PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin"
pause = threading.Event().wait
"""Let the guest, which nothing here can wait for, get on for so many seconds."""


class Line:
    """One command at a time, one answer each."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def send(self, command: str, **arguments: Any) -> None:
        message = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def call(self, command: str, **arguments: Any) -> Any:
        self.send(command, **arguments)
        while True:
            answer = self._read()
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error'].get('desc', answer)}")
            if "return" in answer:
                return answer["return"]

    def _read(self) -> Any:
        line = self._file.readline()
        if not line:
            raise EOFError("the virtual machine hung up")
        return json.loads(line.lstrip(b"\xff"))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Monitor(Line):
    """Tells qemu to plug, unplug, and let the network fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, timeout=10)
        self._read()  # its greeting
        self.call("qmp_capabilities")

    def until(self, event: str, device: str) -> None:
        """Wait for qemu's word that this has happened."""
        while True:
            answer = self._read()
            if answer.get("event") == event and answer["data"].get("device") == device:
                return


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in the guest ended; 128 + signal if one ended it."""

    code: int
    out: str
    err: str


class Agent(Line):
    """Runs commands in the guest, as root; works while the guest's network is down."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, timeout=5)
        number = time.monotonic_ns() & 0x7FFFFFFF
        # The byte FF ends whatever a former client left half said; the agent's complaint about that is passed over.
        sync = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        self._socket.sendall(b"\xff" + json.dumps(sync).encode() + b"\n")
        while True:
            with contextlib.suppress(ValueError):
                if self._read().get("return") == number:
                    break
        self._socket.settimeout(30)

    def run(self, command: str, timeout: float) -> Result:
        pid = self.call(
            "guest-exec", path="/bin/bash", arg=["-c", command], env=[PATH, "HOME=/root", "LANG=C.UTF-8"],
            **{"capture-output": True},
        )["pid"]  # fmt: skip
        end = time.monotonic() + timeout
        wait = 0.02
        while not (state := self.call("guest-exec-status", pid=pid))["exited"]:
            if time.monotonic() > end:
                raise TimeoutError(f"in the guest, after {timeout} s: {command}")
            pause(wait)
            wait = min(1.5 * wait, 0.3)
        out, err = (base64.b64decode(state.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
        return Result(state.get("exitcode", 128 + state.get("signal", 0)), out, err)
