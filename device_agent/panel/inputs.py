"""A button's edges, posted raw but never without bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from device_agent.core.events import Edge, Event
from device_agent.runtime.deadline import Clock

MOST = 100  # edges of one button within …
WINDOW_S = 0.5  # … this time are posted: contact bounce is far less, a loose wire or a hum may be thousands


class Input:
    """Called by gpiozero's thread. Edges beyond the bound are dropped; where the button then is, is posted afterwards.

    A timer's thread exists only while a contact is that restless.
    """

    def __init__(self, name: str, device: Any, post: Callable[[Event], None], clock: Clock) -> None:
        self._name = name
        self._device = device
        self._post = post
        self._clock = clock
        self._began = float("-inf")
        self._count = 0
        self._later: threading.Timer | None = None
        device.when_activated = lambda: self._edge(True)
        device.when_deactivated = lambda: self._edge(False)

    def _edge(self, pressed: bool) -> None:
        now = self._clock()
        if now - self._began >= WINDOW_S:
            self._began, self._count = now, 0
        self._count += 1
        if self._count <= MOST:
            self._post(Edge(self._name, pressed, now))
        elif self._later is None:
            self._later = threading.Timer(WINDOW_S, self._settle)
            self._later.daemon = True
            self._later.start()

    def _settle(self) -> None:
        self._later = None
        try:
            pressed = bool(self._device.is_active)
        except Exception:  # the pin has vanished: nobody presses it
            pressed = False
        self._post(Edge(self._name, pressed, self._clock()))
