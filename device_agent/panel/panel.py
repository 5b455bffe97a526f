"""The panel driver: button, mute switch and light."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from device_agent.config.buttons import buttons
from device_agent.config.schema import Lights
from device_agent.config.schema import Panel as Settings
from device_agent.core.commands import Indicator, Show
from device_agent.core.events import Edge, Event, Frame, MuteSwitch, PanelDown, PanelUp, Presence, Volume
from device_agent.core.indicator import Snapshot
from device_agent.panel.inputs import Input
from device_agent.panel.lights import Light, Write, open_light
from device_agent.panel.looks import loudness
from device_agent.panel.pins import (
    ONE_LED,
    PinFactory,
    Pins,
    explain,
    gpio_factory,
    leave_lost_chip,
    mock_factory,
    mock_pins,
    open_pins,
)
from device_agent.runtime.deadline import Clock
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.worker import Worker

FIRST_RETRY_S = 2.0
LAST_RETRY_S = 60.0
LOOK_S = 0.5  # between looks whether the inputs can be read: a chip that vanishes sends no edge
GLANCE_S = {Indicator.TOUCH: 0.15, Indicator.VOLUME: 1.5}
TOUCHES_S = 0.34  # between answers to a touch: three flashes a second at most

_ORDER = list(Indicator)


class Panel(Worker):
    """Thread "panel". Owns the pins: opens, writes and closes them, and opens them again after a failure.

    It blocks in `_wake.wait()` until the light must change (`show()`, the latch or stop set it) or the inputs must be
    looked at, and without pins in `stopping.wait()`; the calls to the GPIO library do not block, or the heartbeat
    tells.

    gpiozero calls back from a thread of its own. The callbacks post a fact and return; that of the mute switch also
    closes the latch at once, before anything that could be late (the documented exception to R1).
    """

    limit_s = 5.0

    def __init__(
        self,
        settings: Settings,
        post: Callable[[Event], None],
        latch: MuteLatch,
        on_failure: Callable[[str, BaseException], None],
        lights: Lights = ONE_LED,
        played: Callable[[], float] = lambda: -100.0,
        clock: Clock = time.monotonic,
        make_factory: Callable[[], PinFactory] = gpio_factory,
        retry_s: float = FIRST_RETRY_S,
        write: Write | None = None,
    ) -> None:
        super().__init__("panel", on_failure, clock)
        self._settings = settings
        self._report = post
        self._latch = latch
        self.pins: Pins | None = None
        """The mock's pins, for the demo and the tests to press."""
        self._make_factory = make_factory
        self._lights = lights
        self._write = write
        self._played = played
        if settings.backend == "mock":
            mock = mock_factory(self._lights.kind in ("pwm", "rgb"))
            self._write = write or (lambda _: None)
            self.pins = mock_pins(settings, mock)
            self._make_factory = lambda: mock
        self._first_retry_s = self._retry_s = retry_s
        self._wake = threading.Event()
        self._indicator = Indicator.BOOT
        self._glance, self._glanced = Indicator.IDLE, float("-inf")
        self._dark = ""
        self._heard_db, self._volume = -100.0, 100
        self._switch_muted = settings.mute_pin >= 0  # until it has been read; as long nothing may leave
        if self._switch_muted:
            latch.close()

    # ------------------------------------------------------------------------------ the dispatcher
    def show(self, command: Show) -> None:
        """Change what the light says."""
        self._indicator = command.indicator
        self._wake.set()

    def watch(self, now: float, event: Event, commands: object, snapshot: Snapshot) -> None:
        """What the light follows: how loud it is, and that somebody sets the volume."""
        if isinstance(event, Frame):
            self._heard_db = event.level
        elif isinstance(event, Volume):
            self._volume = snapshot.volume
            self._look_at(Indicator.VOLUME)

    def _look_at(self, indicator: Indicator) -> None:
        """Show it for a moment. Any thread."""
        now = self.clock()
        if indicator is Indicator.TOUCH and (now - self._glanced < TOUCHES_S or self._passing(now) is Indicator.VOLUME):
            return
        self._glance, self._glanced = indicator, now
        self._wake.set()

    def _passing(self, now: float) -> Indicator | None:
        """What is shown for a moment now."""
        return self._glance if now - self._glanced < GLANCE_S.get(self._glance, 0.0) else None

    def open_latch(self) -> None:
        """Open the mute latch, unless the switch says muted.

        The switch may close it while this runs: then either the first look sees that, or the second does and
        closes again; the latch's generation keeps what was captured in between from being sent.
        """
        if not self._switch_muted:
            self._latch.open()
            if self._switch_muted:
                self._latch.close()
        self._wake.set()

    def unblock(self) -> None:
        self._wake.set()

    def _post(self, event: Event) -> None:
        """One that was told to stop says nothing: another may hold the pins by now, and its word is the last."""
        if not self.stopping.is_set():
            self._report(event)

    # ---------------------------------------------------------------------------- the panel's thread
    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._serve()
            except Exception as error:  # GPIO libraries raise anything; whatever it is, the pins are away
                self._down(error)
                self.stopping.wait(self._retry_s)
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    def _serve(self) -> None:
        """Hold the pins and keep the light going, until stop or until a pin fails."""
        self.beat("opening", due=True)
        with ExitStack() as stack:
            try:
                factory = self._make_factory()
                stack.callback(leave_lost_chip, factory)
                pins = open_pins(self._settings, factory, stack, self._lights)
                self._listen(pins)
                self._retry_s = self._first_retry_s
                self._post(PanelUp())
                self._keep_light(pins, stack)
            except Exception:
                if self._settings.mute_pin >= 0:  # nobody sees the switch any more: before all that takes time
                    self._mute(True)
                raise

    def _open_light(self, led: Any, stack: ExitStack) -> Light | None:
        """Buttons and switch work without a light: one that cannot be had is said once, and tried again."""
        try:
            light = open_light(self._lights, led, self._write, stack)
        except OSError as error:
            if str(error) != self._dark:
                self._dark = str(error)
                self._post(PanelDown(self._dark))
            return None
        if self._dark:
            self._dark = ""
            self._post(PanelUp())
        if light is not None:
            stack.callback(light.close)
        return light

    def _listen(self, pins: Pins) -> None:
        for name, button in pins.buttons.items():
            Input(name, button, self._edge, self.clock)
        if pins.presence is not None:
            pins.presence.when_activated = lambda: self._post(Presence(True))
            pins.presence.when_deactivated = lambda: self._post(Presence(False))
            if pins.presence.is_active:
                self._post(Presence(True))
        if pins.mute is not None:
            pins.mute.when_activated = pins.mute.when_deactivated = lambda: self._report_mute(pins.mute)
            self._report_mute(pins.mute)

    def _edge(self, edge: Event) -> None:
        """The light answers a press before anybody thinks about it."""
        if isinstance(edge, Edge) and edge.pressed:
            self._look_at(Indicator.TOUCH)
        self._post(edge)

    def _keep_light(self, pins: Pins, stack: ExitStack) -> None:
        light, tried = self._open_light(pins.led, stack), self.clock()
        shown, began, looked = None, 0.0, tried
        while not self.stopping.is_set():
            self._wake.clear()  # before looking: what changes afterwards wakes again
            self.beat("showing", due=True)
            now = self.clock()
            if now - looked >= LOOK_S:
                looked = now
                self._look(pins)
            if light is None and self._dark and now - tried >= LAST_RETRY_S:
                light, tried = self._open_light(pins.led, stack), now
            passing = self._passing(now)
            indicator = self._truth(passing, light is not None and light.shows_mute)
            if indicator is not shown:
                shown, began = indicator, now
            waits = [LOOK_S * 1000]
            if light is not None:
                t = int((now - began) * 1000)
                wait = light.show(indicator, t, self._level(indicator), self._latch.closed, now)
                waits += [] if wait is None else [wait]
                waits += [] if passing is None else [(self._glanced + GLANCE_S[passing] - now) * 1000 + 1]
            self.beat("showing", due=False)
            self._wake.wait(min(waits) / 1000)

    def _look(self, pins: Pins) -> None:
        """Raises where an input cannot be read any more; finds a switch whose edge got lost."""
        pins.look()
        if pins.mute is not None and self._reads_muted(pins.mute) != self._switch_muted:
            self._report_mute(pins.mute)

    def _level(self, indicator: Indicator) -> float:
        """0 … 1: what is heard, what is played, or the volume."""
        if indicator is Indicator.VOLUME:
            return self._volume / 100
        return loudness(self._played() if indicator is Indicator.SPEAKING else self._heard_db)

    def _truth(self, passing: Indicator | None = None, marker: bool = False) -> Indicator:
        """The order, but muted whenever the latch is closed and nothing graver is to be said (R11).

        A touch is answered before anything else; the volume too, if the light can show mute beside it.
        """
        if passing is Indicator.TOUCH or (passing is not None and (marker or not self._latch.closed)):
            return passing
        return min(self._indicator, Indicator.MUTED, key=_ORDER.index) if self._latch.closed else self._indicator

    def _down(self, error: BaseException) -> None:
        self.beat("no pins", due=False)
        for button in buttons(self._settings):  # a press that began before can no longer be seen to end
            self._post(Edge(button.name, False, self.clock()))
        self._post(PanelDown(explain(error, self._settings)))

    # ----------------------------------------------------------- gpiozero's thread and the panel's thread
    def _report_mute(self, switch: Any) -> None:
        """Say what the switch says now.

        Two threads may be here at once (the first look, and an edge just then), and the older finding could be
        posted last: so each looks again after posting, and whoever posts last has posted what is so. A switch that
        does not come to rest is muted until its next edge.
        """
        for _ in range(8):
            muted = self._reads_muted(switch)
            self._mute(muted)
            if self._reads_muted(switch) == muted:
                return
        self._mute(True)

    def _mute(self, muted: bool) -> None:
        if self.stopping.is_set():  # the latch is another's: see `_post`
            return
        self._switch_muted = muted  # before the latch: see open_latch
        if muted:
            self._latch.close()
            self._wake.set()
        self._post(MuteSwitch(muted))

    def _reads_muted(self, switch: Any) -> bool:
        """Unreadable counts as muted; that it is unreadable is found and said by the panel's thread."""
        try:
            return bool(switch.is_active) == (self._settings.mute_when == "closed")
        except Exception:
            return True
