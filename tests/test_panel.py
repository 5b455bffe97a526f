"""The panel driver on gpiozero's mock pins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import pytest
from gpiozero.exc import GPIOPinInUse, PinInvalidPin, PinUnknownPi
from gpiozero.pins.mock import MockFactory, MockPin

from device_agent.config.schema import Lights
from device_agent.config.schema import Panel as Settings
from device_agent.core.commands import Indicator, Show
from device_agent.core.events import Edge, Event, Frame, MuteSwitch, PanelDown, PanelUp, Presence, Volume
from device_agent.core.indicator import Snapshot
from device_agent.panel.panel import Panel
from device_agent.panel.pins import (
    choose_backend,
    explain,
    header_chip,
    leave_lost_chip,
    mock_factory,
    mock_pins,
    open_pins,
)
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch

ALL_PINS = Settings(backend="gpio", button_pin=17, led_pin=27, mute_pin=22)
E = TypeVar("E")


class LedPin(MockPin):
    """A mock pin that hands over each change of its state."""

    def __init__(self, *args: Any) -> None:
        self.changes: SimpleQueue[bool] = SimpleQueue()
        super().__init__(*args)

    def _change_state(self, value: bool) -> bool:
        changed = super()._change_state(value)
        if changed:
            self.changes.put(value)
        return bool(changed)


class HeldLowPin(MockPin):
    """A mock pin that is tied to ground: no pull moves it."""

    def _get_state(self) -> bool:
        return False


class HeldHighPin(MockPin):
    """A mock pin that a sensor holds high."""

    def _get_state(self) -> bool:
        return True


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A panel with what it talks to; `expect` is the rendezvous with its thread."""

    def __init__(self, settings: Settings = ALL_PINS, **options: Any) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.latch = MuteLatch()
        self.failures: list[BaseException] = []
        self.factory = mock_factory()
        if settings.led_pin == 27:
            self.factory.pin(27, pin_class=LedPin)
        options.setdefault("make_factory", lambda: self.factory)
        self.panel = Panel(
            settings, self.events.put, self.latch, lambda _, error: self.failures.append(error), **options
        )
        self.pins = mock_pins(settings, self.factory)

    def start(self) -> Bench:
        self.panel.start()
        return self

    def expect(self, kind: type[E]) -> E:
        """The next fact, which must be of this kind."""
        event = self.events.get(timeout=5)
        assert isinstance(event, kind), event
        return event

    def light(self) -> bool:
        """What the LED changes to next."""
        return bool(self.pins.led.changes.get(timeout=5))

    def stop(self) -> None:
        self.panel.request_stop()
        assert self.panel.join(Deadline(5))
        assert not self.failures


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench().start()
    assert bench.expect(MuteSwitch) == MuteSwitch(False)
    bench.expect(PanelUp)
    yield bench
    bench.stop()


def test_a_press_is_two_edges_with_times(bench: Bench) -> None:
    """Pressing pulls the pin low; press and release are posted raw, with rising times."""
    bench.pins.button.drive_low()
    bench.pins.button.drive_high()
    down, up = bench.expect(Edge), bench.expect(Edge)
    assert (down.button, down.pressed, up.pressed) == ("button", True, False)
    assert down.t <= up.t


def test_bounce_is_left_to_the_core(bench: Bench) -> None:
    """Every edge of a bouncing contact is posted: debouncing is pure code elsewhere."""
    for _ in range(30):
        bench.pins.button.drive_low()
        bench.pins.button.drive_high()
    assert [bench.expect(Edge).pressed for _ in range(60)] == [True, False] * 30


def test_the_mute_switch_closes_the_latch_before_the_core_knows(bench: Bench) -> None:
    """When the callback of the switch returns, the latch is closed and the fact is posted."""
    bench.pins.mute.drive_low()
    assert bench.latch.closed
    assert bench.expect(MuteSwitch) == MuteSwitch(True)


def test_the_mute_switch_never_opens_the_latch(bench: Bench) -> None:
    """Moving the switch back only posts: opening is the dispatcher's."""
    bench.pins.mute.drive_low()
    bench.pins.mute.drive_high()
    assert (bench.expect(MuteSwitch).muted, bench.expect(MuteSwitch).muted) == (True, False)
    assert bench.latch.closed
    bench.panel.open_latch()
    assert not bench.latch.closed


def test_an_old_order_does_not_open_a_switched_off_microphone(bench: Bench) -> None:
    """`open_latch` ordered before the switch was closed, performed after: the latch stays closed."""
    bench.pins.mute.drive_low()
    generation = bench.latch.generation
    bench.panel.open_latch()
    assert bench.latch.closed
    assert bench.latch.generation == generation  # not even for a moment


def test_a_switch_closed_within_open_latch_wins() -> None:
    """The switch closes between the look and the opening: the second look closes again."""

    class SlowLatch(MuteLatch):
        __slots__ = ("before_open",)

        def open(self) -> None:
            bench.pins.mute.drive_low()
            super().open()

    bench = Bench()
    bench.latch = SlowLatch()
    bench.panel = Panel(ALL_PINS, bench.events.put, bench.latch, lambda *_: None, make_factory=lambda: bench.factory)
    bench.start()
    bench.expect(MuteSwitch)
    bench.expect(PanelUp)
    bench.panel.open_latch()
    assert bench.latch.closed
    bench.stop()


def test_a_switch_that_is_closed_at_start_means_muted() -> None:
    """The first look at the switch is posted, and closes the latch."""
    factory = mock_factory()
    factory.pin(5, pin_class=HeldLowPin)
    bench = Bench(Settings(backend="gpio", mute_pin=5), make_factory=lambda: factory)
    bench.start()
    assert bench.expect(MuteSwitch) == MuteSwitch(True)
    assert bench.latch.closed
    bench.stop()


def test_a_switch_may_mute_when_it_is_open() -> None:
    """With mute_when = "open" a cut wire mutes; closing it says so and never opens the latch; unreadable is muted."""
    factory = mock_factory()
    bench = Bench(Settings(backend="gpio", mute_pin=5, mute_when="open"), make_factory=lambda: factory)
    bench.start()
    assert bench.expect(MuteSwitch) == MuteSwitch(True)
    assert bench.latch.closed
    bench.expect(PanelUp)
    factory.pin(5).drive_low()
    assert bench.expect(MuteSwitch) == MuteSwitch(False)
    assert bench.latch.closed
    factory.pin(5).drive_high()
    assert bench.expect(MuteSwitch) == MuteSwitch(True)
    bench.stop()


def test_a_chattering_switch_means_muted() -> None:
    """A switch that reads differently at each look ends as muted, after a bounded number of facts."""

    class Chatter:
        looks = 0

        @property
        def is_active(self) -> bool:
            self.looks += 1
            return self.looks % 2 == 0

    bench = Bench()
    bench.panel._report_mute(Chatter())
    facts = [bench.expect(MuteSwitch).muted for _ in range(9)]
    assert facts[-1] is True
    assert bench.events.empty()
    assert bench.latch.closed


@pytest.mark.parametrize("when", ["closed", "open"])
def test_an_unreadable_switch_means_muted(when: str) -> None:
    """A switch whose reading fails counts as muted, whichever way it mutes."""

    class Broken:
        @property
        def is_active(self) -> bool:
            raise OSError("gone")

    bench = Bench(Settings(mute_when=when))
    bench.panel._report_mute(Broken())
    assert bench.expect(MuteSwitch) == MuteSwitch(True)
    assert bench.latch.closed


def test_the_light_follows_show() -> None:
    """`Show` changes the light at once and starts its rhythm anew; showing the same again leaves the rhythm alone."""
    clock = FakeClock()
    bench = Bench(Settings(backend="gpio", led_pin=27), clock=clock)
    bench.panel.show(Show(Indicator.IDLE))
    bench.start()
    assert bench.light() is True  # idle begins with its glint
    clock.now = 0.1
    bench.panel.show(Show(Indicator.IDLE))
    bench.panel.show(Show(Indicator.IDLE))
    assert bench.light() is False
    bench.panel.show(Show(Indicator.QUEUED))
    assert bench.light() is True
    clock.now = 2.1
    bench.panel.show(Show(Indicator.QUEUED))
    assert bench.light() is False
    bench.stop()


def test_the_light_moves_by_itself(bench: Bench) -> None:
    """A rhythm goes on without any order."""
    bench.panel.show(Show(Indicator.ERROR))
    changes = [bench.light() for _ in range(4)]
    assert changes in ([True, False, True, False], [False, True, False, True])


def test_a_touch_is_answered_by_the_light_before_the_core_knows() -> None:
    """A press turns the LED the other way round for a moment, in whatever state; faster presses flash no faster."""
    clock = FakeClock()
    bench = Bench(Settings(backend="gpio", led_pin=27, button_pin=17), clock=clock).start()
    bench.expect(PanelUp)
    assert bench.light() is True
    bench.panel.show(Show(Indicator.LISTENING))
    bench.pins.button.drive_low()
    assert bench.light() is False
    bench.pins.button.drive_high()
    bench.pins.button.drive_low()
    clock.now = 0.16
    bench.panel.show(Show(Indicator.LISTENING))
    assert bench.light() is True
    assert bench.pins.led.changes.empty()
    bench.stop()


def test_the_volume_is_shown_while_somebody_sets_it() -> None:
    """It passes; while muted a single LED goes on saying so, and a chain shows both."""
    clock = FakeClock()
    bench = Bench(clock=clock)
    bench.panel.show(Show(Indicator.IDLE))
    bench.latch.open()
    bench.panel.watch(0.0, Volume(level=40), (), Snapshot(volume=40))
    passing = bench.panel._passing(clock.now)
    assert bench.panel._truth(passing) is Indicator.VOLUME
    assert bench.panel._level(Indicator.VOLUME) == 0.4
    bench.latch.close()
    assert bench.panel._truth(passing) is Indicator.MUTED
    assert bench.panel._truth(passing, marker=True) is Indicator.VOLUME
    clock.now = 1.6
    assert bench.panel._passing(clock.now) is None


def test_the_levels_that_the_light_follows() -> None:
    """Listening is what the microphone hears, speaking what is played."""
    bench = Bench(played=lambda: -35.0)
    bench.panel.watch(0.0, Frame(1, True, -25.0, 0.0), (), Snapshot())
    assert (bench.panel._level(Indicator.LISTENING), bench.panel._level(Indicator.SPEAKING)) == (0.75, 0.5)


def test_a_chain_that_is_not_there_leaves_the_buttons() -> None:
    """SPI off: said once with the remedy, tried again in a minute; a press is still posted."""
    lights = Lights(kind="apa102", spi="99.0")
    bench = Bench(Settings(backend="gpio", button_pin=17), lights=lights).start()
    bench.expect(PanelUp)
    assert "lights.spi = 99.0: there is no /dev/spidev99.0: SPI is off" in bench.expect(PanelDown).reason
    bench.pins.button.drive_low()
    assert bench.expect(Edge).pressed
    bench.stop()


def test_the_light_shows_the_latch(bench: Bench) -> None:
    """A closed latch is shown as muted even before the core has said so, unless something graver is shown."""
    bench.panel.show(Show(Indicator.LISTENING))
    bench.pins.mute.drive_low()
    assert bench.panel._truth() is Indicator.MUTED
    bench.panel.show(Show(Indicator.ERROR))
    assert bench.panel._truth() is Indicator.ERROR


def test_stop_puts_the_light_out_and_frees_the_pins() -> None:
    """After stop the LED is off, and all pins can be claimed again."""
    bench = Bench().start()
    assert bench.light() is True
    bench.stop()
    assert not bench.pins.led.state
    with ExitStack() as stack:
        assert open_pins(ALL_PINS, bench.factory, stack).led is not None


def test_a_steady_light_needs_no_ticks() -> None:
    """While nothing moves, the panel sleeps from look to look: it does not even see the clock, and no beat is due."""
    looks: SimpleQueue[None] = SimpleQueue()

    def clock() -> float:
        looks.put(None)
        return 0.0

    bench = Bench(Settings(backend="gpio", button_pin=17), clock=clock).start()  # no LED: nothing ever moves
    bench.expect(PanelUp)
    with pytest.raises(Empty):
        while True:
            looks.get(timeout=0.2)
    assert not bench.panel.overdue(3600)
    bench.stop()


def test_pins_that_come_late_are_taken_then() -> None:
    """Unavailable pins: muted, released, said with a remedy, tried again, and then everything works."""
    attempts: list[int] = []

    def factory() -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise PinUnknownPi("no board")
        return bench.factory

    bench = Bench(make_factory=factory, retry_s=0.01)
    bench.start()
    for _ in range(2):
        assert bench.expect(MuteSwitch) == MuteSwitch(True)
        assert bench.expect(Edge).pressed is False
        assert "Raspberry Pi" in bench.expect(PanelDown).reason
    assert bench.latch.closed
    assert bench.expect(MuteSwitch) == MuteSwitch(False)
    bench.expect(PanelUp)
    assert bench.latch.closed  # only the dispatcher opens
    bench.stop()


def test_retries_grow_to_a_minute() -> None:
    """The pause doubles with each failure and never exceeds 60 s; stop ends it at once."""

    def never() -> Any:
        raise PinUnknownPi("no board")

    bench = Bench(Settings(backend="gpio", led_pin=27), make_factory=never, retry_s=40.0).start()
    bench.expect(PanelDown)
    assert not bench.panel.overdue(bench.panel.clock() + 3600)  # a missing pin is a state, not a fault (R10)
    bench.panel.stopping.set()
    assert bench.panel.join(Deadline(5))
    assert bench.panel._retry_s == 60.0


def test_a_pin_that_fails_while_in_use_is_claimed_again() -> None:
    """A write that fails is a `PanelDown`; the pins are released and opened anew."""
    bench = Bench(Settings(backend="gpio", led_pin=27), retry_s=0.01).start()
    bench.expect(PanelUp)
    bench.pins.led.function = "input"  # what a pin looks like that another program took
    bench.panel.show(Show(Indicator.LISTENING))
    assert bench.expect(PanelDown).reason.startswith("panel.led_pin = 27: ")
    bench.expect(PanelUp)
    bench.stop()


class LostPin(MockPin):
    """A mock pin that can be lost, as with its chip: then it is neither read nor closed."""

    lost = False

    def _get_state(self) -> bool:
        if self.lost:
            raise OSError("No such device")
        return bool(super()._get_state())

    def close(self) -> None:
        if self.lost:
            raise OSError("cannot be closed")
        super().close()


def test_a_switch_that_can_no_longer_be_read_mutes() -> None:
    """No edge says that a chip has vanished: looks find it, close the latch first, and take the pins that come back."""
    bench = Bench(Settings(backend="gpio", mute_pin=22), retry_s=0.01)
    bench.factory = MockFactory(pin_class=LostPin)
    switch = bench.factory.pin(22)
    bench.start()
    assert bench.expect(MuteSwitch) == MuteSwitch(False)
    bench.expect(PanelUp)
    switch.lost = True
    assert bench.expect(MuteSwitch) == MuteSwitch(True)
    assert bench.latch.closed
    assert bench.expect(PanelDown).reason.startswith("panel.mute_pin = 22: ")
    switch.lost = False
    while not isinstance(event := bench.events.get(timeout=5), PanelUp):
        assert event != MuteSwitch(True) or bench.latch.closed
    bench.stop()


def test_a_lost_chip_is_let_go_of_with_all_that_was_told_its_edges() -> None:
    """The library knows chips by number: the successor's edges must not reach a pin that is dead."""

    class LostFactory(MockFactory):
        lost = staticmethod(lambda: True)

    factory = LostFactory()
    pin = factory.pin(22)
    with ExitStack() as stack:
        mute = open_pins(Settings(mute_pin=22), factory, stack).mute
        mute.when_activated = lambda: None
        assert pin.when_changed is not None
        leave_lost_chip(factory)
    assert pin.when_changed is None
    assert not factory.pins


@pytest.mark.parametrize("busy", [False, True], ids=["free pins", "pins in use"])
def test_a_panel_that_was_given_up_says_nothing_any_more(busy: bool) -> None:
    """Stuck in the GPIO library and replaced meanwhile: what it finds in the end is older than what the other says."""
    stuck, free = threading.Event(), threading.Event()

    def library() -> MockFactory:
        stuck.set()
        free.wait(5)
        if busy:
            raise OSError("GPIO busy")
        return bench.factory

    bench = Bench(make_factory=library).start()
    stuck.wait(5)
    bench.panel.request_stop()
    bench.latch.open()  # as the other wants it
    free.set()
    bench.stop()
    assert bench.events.empty()
    assert not bench.latch.closed


def test_pins_are_taken_all_or_none() -> None:
    """If one pin is not to be had, those claimed before it are free again, and the reason names the one."""
    settings = Settings(backend="gpio", button_pin=17, led_pin=17)
    bench = Bench(settings, retry_s=60.0).start()
    bench.expect(Edge)
    assert bench.expect(PanelDown).reason == (
        "panel.led_pin = 17: the pin is in use; stop the other program or choose another pin"
    )
    bench.stop()
    with ExitStack() as stack:
        assert open_pins(Settings(button_pin=17), bench.factory, stack).button is not None


@pytest.mark.parametrize(
    ("settings", "model", "backend"),
    [
        (Settings(), "Raspberry Pi 5 Model B", "none"),
        (Settings(button_pin=17), "Raspberry Pi 5 Model B", "gpio"),
        (Settings(button_pin=17), "Radxa ROCK 4", "none"),
        (Settings(button_pin=17), None, "none"),
        (Settings(mute_pin=22), None, "gpio"),
        (Settings(backend="gpio"), None, "none"),
        (Settings(backend="gpio", led_pin=27), None, "gpio"),
        (Settings(backend="none", mute_pin=22), "Raspberry Pi 5 Model B", "none"),
        (Settings(backend="mock"), None, "mock"),
    ],
)
def test_which_backend_is_used(settings: Settings, model: str | None, backend: str, tmp_path: Path) -> None:
    """auto needs a Raspberry Pi and a pin, but never ignores a mute switch; without pins there is no panel."""
    file = tmp_path / "model"
    if model is not None:
        file.write_text(model + "\0")
    assert choose_backend(settings, file) == backend


def test_the_mock_backend_has_pins_to_press() -> None:
    """With `panel.backend = "mock"` the panel needs no hardware, and its pins can be pressed."""
    events: SimpleQueue[Event] = SimpleQueue()
    settings = Settings(backend="mock", button_pin=17)
    panel = Panel(settings, events.put, MuteLatch(), lambda *_: None)
    panel.start()
    assert events.get(timeout=5) == PanelUp()
    assert panel.pins is not None
    panel.pins.button.drive_low()
    edge = events.get(timeout=5)
    assert isinstance(edge, Edge) and edge.pressed
    panel.request_stop()
    assert panel.join(Deadline(5))


@pytest.mark.parametrize(
    ("error", "chips", "remedy"),
    [
        (ModuleNotFoundError("No module named 'RPi'"), 1, "install python3-lgpio"),
        (PinUnknownPi("?"), 1, "not a Raspberry Pi"),
        (GPIOPinInUse("?"), 1, "in use"),
        (RuntimeError("'GPIO busy'"), 1, "in use"),
        (PinInvalidPin("99"), 1, "no such pin"),
        (FileNotFoundError(2, "No such file", ".lgd-nfy-3"), 1, "LG_WD"),
        (RuntimeError("can not open gpiochip"), 0, "no GPIO chip"),
        (PermissionError(13, "denied"), 1, "group gpio"),
        (RuntimeError("odd"), 1, "RuntimeError: odd"),
    ],
)
def test_a_reason_names_the_pins_and_the_remedy(error: Exception, chips: int, remedy: str, tmp_path: Path) -> None:
    """Each way in which pins can be missing is one line: the pins, what is wrong, what to do."""
    for number in range(chips):
        (tmp_path / f"gpiochip{number}").touch()
    reason = explain(error, ALL_PINS, tmp_path)
    assert reason.startswith("panel.button_pin = 17, panel.mute_pin = 22, panel.led_pin = 27: ")
    assert remedy in reason
    assert "\n" not in reason


def test_the_chip_of_the_header_is_found_by_its_label() -> None:
    """A Raspberry Pi 5 has several, and which number the header's gets is up to its kernel."""
    five = {0: "gpio-brcmstb@107d508500", 10: "gpio-brcmstb@107d517c00", 13: "raspberrypi-exp-gpio"}
    assert header_chip({**five, 4: "pinctrl-rp1"}) == 4
    assert header_chip({**five, 0: "pinctrl-rp1", 11: "gpio-brcmstb@107d508500"}) == 0
    assert header_chip({1: "gpio-sim.0-node0"}) == 1  # no Raspberry Pi
    assert header_chip({}) == 0


def test_real_pins_missing_here_are_a_state_not_a_crash() -> None:
    """In a process of its own, on a machine without GPIO: one `PanelDown` with a remedy, and a clean stop."""
    program = """
import queue
from device_agent.config.schema import Lights
from device_agent.config.schema import Panel as S
from device_agent.panel.panel import Panel
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.deadline import Deadline
events, latch = queue.SimpleQueue(), MuteLatch()
panel = Panel(S(backend="gpio", button_pin=17), events.put, latch, lambda *a: print("FAILED", a))
panel.start()
while "Panel" not in type(event := events.get(timeout=20)).__name__: pass
panel.request_stop()
print(type(event).__name__, getattr(event, "reason", ""), panel.join(Deadline(5)))
"""
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has GPIO")
    environ = {**os.environ, "PYTHONWARNINGS": "error::UserWarning"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=60)
    assert done.stdout.startswith("PanelDown panel.button_pin = 17: "), done
    assert done.stdout.endswith("True\n")
    assert done.stderr == ""


def test_without_pins_gpiozero_is_not_imported() -> None:
    """Optional parts cost nothing when off: neither our modules nor the choice import gpiozero."""
    program = """
import sys
import threading
from device_agent.config.schema import Lights
from device_agent.config.schema import Panel as S
from device_agent.panel.panel import Panel
from device_agent.panel.pins import choose_backend
assert choose_backend(S()) == "none"
print("gpiozero" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


def test_the_mock_is_gpiozeros() -> None:
    """The mock backend is gpiozero's own MockFactory: the driver's code is the same as on a Pi."""
    assert isinstance(mock_factory(), MockFactory)


def test_any_number_of_buttons_and_a_sensor() -> None:
    """Each input posts under its own name; one that is pressed when high is read so."""
    settings = Settings(
        backend="gpio",
        buttons={"red": {"pin": 5, "press": "stop"}, "blue": {"pin": 6, "press": "mute", "active": "high"}},
        presence_pin=13,
    )
    bench = Bench(settings)
    bench.start()
    bench.expect(PanelUp)
    bench.pins.buttons["red"].drive_low()
    bench.pins.buttons["blue"].drive_high()
    edges = bench.expect(Edge), bench.expect(Edge)
    assert [(edge.button, edge.pressed) for edge in edges] == [("red", True), ("blue", True)]
    bench.pins.presence.drive_high()
    assert bench.expect(Presence) == Presence(True)
    bench.pins.presence.drive_low()
    assert bench.expect(Presence) == Presence(False)
    bench.stop()


def test_who_is_there_already_is_seen() -> None:
    """A sensor that is high at the start says so: the first visitor may stand there before the device does."""
    factory = mock_factory()
    factory.pin(13, pin_class=HeldHighPin)
    bench = Bench(Settings(backend="gpio", presence_pin=13), make_factory=lambda: factory).start()
    assert bench.expect(Presence) == Presence(True)
    bench.stop()
