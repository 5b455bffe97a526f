"""The socket that systemd would listen at, and when what was said to it."""

from __future__ import annotations

import socket
import threading
import time
from itertools import pairwise
from pathlib import Path

from device_agent.errors import DeviceAgentError
from device_agent.runtime.deadline import Deadline


class Systemd:
    """`heard` holds the time and the text of each notification."""

    def __init__(self, path: Path, watchdog_s: float = 10.0) -> None:
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        self.heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Systemd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    @property
    def words(self) -> list[str]:
        """Everything that was said, in order."""
        return [text for _, text in list(self.heard)]

    def hears(self, text: str, timeout: float = 10.0) -> None:
        """Wait until a notification with this text has come, or is there already. Raises `DeviceAgentError`."""
        deadline, pause = Deadline(timeout), threading.Event()
        while not any(text in word for word in self.words):
            if deadline.passed:
                raise DeviceAgentError(f"systemd did not hear {text} within {timeout:.0f} s")
            pause.wait(0.01)

    def times(self, text: str) -> list[float]:
        return [at for at, heard in list(self.heard) if heard.startswith(text)]

    def longest_silence(self, text: str) -> float:
        """Seconds between two notifications of that kind, the longest."""
        times = self.times(text)
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                data = self._socket.recv(4096).decode()
            except TimeoutError:
                continue
            self.heard += [(time.monotonic(), line) for line in data.splitlines()]
