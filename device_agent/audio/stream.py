"""The life of a card's stream: opened when wanted, closed when not, retried while it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from device_agent.audio.choice import NotThere
from device_agent.audio.devices import Card, Devices
from device_agent.core.events import DeviceDown, DeviceUp, Event
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Clock
from device_agent.runtime.worker import IN_USE_S, Worker

log = logging.getLogger(__name__)

RETRY_S = (0.5, 5.0)  # the first pause, and the longest
LOOK_S = 0.2  # while a card is away: how often to look whether one has come
ENTRY_S = 0.001  # while another card opens: when to ask again
SETTLE_S = 0.1  # it is listed before its last part is ready
GLANCE_S = 0.1  # without samples so long: is the card still there?
LOST_S = 0.5
INSIDE = {"starting": 13.0, "opening": 6.7, "closing": 6.7, "renewing": 6.7}
"""What is done inside PortAudio, under its lock, and how long it may take on a slow machine (s). Whoever hangs there
keeps everybody else out: then only a new process helps."""
START_S = 2.5  # a sound server may let a silent source sleep for 2 s before its first sample


class Session(Protocol):
    """One open stream in use."""

    running: bool
    """Whether samples have moved."""

    def turn(self) -> float:
        """Move what can be moved without blocking; seconds until the next turn is worth it. AudioError: it is lost."""

    def end(self) -> None:
        """The stream is about to close: settle what was promised."""


class StreamWorker(Worker):
    """A thread that owns one stream of PortAudio: it alone opens, uses and closes it.

    It blocks in opening and closing (2–20 ms; not interruptible, see `INSIDE`), in `Devices.renew` (at most 2 s), and
    in waiting for the next period or order, which `use`, a renewal and the stop interrupt.
    """

    def __init__(
        self,
        name: str,
        device: str,
        devices: Devices,
        post: Callable[[Event], None],
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, on_failure, clock)
        self.limit_s = INSIDE["starting"]
        self._device = device
        self._devices = devices
        self._post = post
        self._wanted = False
        self._wake = threading.Event()
        self._reason: str | None = None
        self._was_up = False  # since `_reason` was said
        self._pause = RETRY_S[0]
        devices.watch(self._wake.set)

    def use(self, on: bool) -> None:
        """Open or close the stream. Any thread; returns at once."""
        self._wanted = on  # before the event: the thread clears the event, then looks
        self._wake.set()

    def unblock(self) -> None:
        self._wake.set()

    @property
    def replaceable(self) -> bool:
        return self.heart.state not in INSIDE

    def open(self) -> Card:
        raise NotImplementedError

    def session(self, card: Card) -> Session:
        raise NotImplementedError

    def run(self) -> None:
        self._inside("starting")
        self._devices.prepare()
        while not self.stopping.is_set():
            if not self._wanted:
                self.beat("closed", due=False)
                self._sleep(None)
                continue
            seen = self._devices.renewals
            try:
                self._serve()
            except (AudioError, OSError) as error:
                self._lost(error, seen)

    def _serve(self) -> None:
        """Open, use and close one stream."""
        self._inside("opening")
        card = self.open()
        try:
            session = self.session(card)
            announced = False
            self.beat("open", due=True)  # before the shorter limit: what was done inside may have taken longer
            self.limit_s = IN_USE_S
            while self._wanted and not self._devices.renewing and not self.stopping.is_set():
                self.beat("open", due=True)
                if not self._devices.entered(self.name):
                    self._sleep(ENTRY_S)
                    continue
                try:
                    wait = session.turn()
                finally:
                    self._devices.left(self.name)
                if session.running and not announced:
                    announced = True
                    self._announce(card)
                self._sleep(wait)
            session.end()
        except OSError as error:  # PortAudio's own words: a number, and that something went wrong
            raise AudioError(f"{self._device} {card.name!r} fails ({error}): is it connected?") from error
        finally:
            self._inside("closing")
            self._devices.close(card)

    def _inside(self, what: str) -> None:
        """From now on we may block inside PortAudio, but not for ever."""
        self.limit_s = INSIDE[what]
        self.beat(what, due=True)

    def _announce(self, card: Card) -> None:
        self._reason = None
        self._was_up = True
        self._pause = RETRY_S[0]
        if card.note:
            log.warning("device-choice device=%s note=%r", self._device, card.note)
        self._post(DeviceUp(self._device, card.name, card.rate, card.channels, card.note))

    def _lost(self, error: Exception, seen: int) -> None:
        # That a card which was pulled out cannot be found is no news.
        known = self._was_up and self._reason is not None and isinstance(error, NotThere)
        if str(error) != self._reason and not known:
            self._was_up = self._was_up and self._reason is None
            self._reason = str(error)
            log.warning("device-down device=%s reason=%r", self._device, self._reason)
            self._post(DeviceDown(self._device, self._reason))
        self.beat("away", due=False)
        if self._rest():
            self._pause = RETRY_S[0]
        else:
            self._pause = min(2 * self._pause, RETRY_S[1])
        if self._wanted and not self.stopping.is_set() and self._devices.stale(error):
            self._inside("renewing")
            self._devices.renew(seen)
            # It has woken us as well, who are awake: the next rest would be none, and the next, for ever. What else
            # may have woken us is looked at before the next sleep.
            self._wake.clear()

    def _rest(self) -> bool:
        """Wait before the next try; True: a card has come or gone, which is worth one at once."""
        end = self.clock() + self._pause
        while (rest := end - self.clock()) > 0 and not self._sleep(min(rest, LOOK_S)):
            if self._devices.changed():
                self._sleep(SETTLE_S)
                return True
        return False

    def _sleep(self, seconds: float | None) -> bool:
        """Whether somebody woke us."""
        if not self._wake.wait(seconds):
            return False  # who wakes us from now on wakes us from the next sleep: it must not be cleared here
        self._wake.clear()
        return True
