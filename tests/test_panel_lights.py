"""The table of looks, the bits on SPI, and the kinds of light."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.config import checks
from device_agent.config.schema import Lights
from device_agent.config.schema import Panel as Settings
from device_agent.core.commands import Indicator
from device_agent.panel.encode import RESET, apa102, ws2812
from device_agent.panel.lights import Blinker, Pixels, open_light, open_spi
from device_agent.panel.looks import LOOKS, PATTERNS, RED, Envelope, Look, frame, loudness, moves
from device_agent.panel.pins import mock_factory, open_pins
from device_agent.panel.sheet import sheet

DOCS = Path(__file__).parent.parent / "docs"


def test_apa102_as_the_data_sheet_has_it() -> None:
    """Start of 32 zero bits, 0xE0 | brightness, blue, green, red; 32 ones at the end."""
    assert apa102([(1, 2, 3), (255, 0, 16)], 31).hex(" ") == "00 00 00 00 ff 03 02 01 ff 10 00 ff ff ff ff ff"
    assert apa102([(1, 2, 3)], 5).hex(" ") == "00 00 00 00 e5 03 02 01 ff ff ff ff"


@pytest.mark.parametrize(("count", "end"), [(3, 4), (12, 4), (64, 4), (65, 5), (128, 8)])
def test_apa102_clocks_the_last_pixel(count: int, end: int) -> None:
    """Data moves on by half a clock a pixel: the end has at least n/2 bits."""
    sent = apa102([(0, 0, 0)] * count)
    assert len(sent) == 4 + 4 * count + end
    assert 8 * end >= count / 2


def test_ws2812_as_the_data_sheet_has_it() -> None:
    """Green, red, blue; 1 is 110, 0 is 100; then at least 280 µs low at 2.4 MHz."""
    # 0xff = 110 ×8; 0x00 = 100 ×8; 0x81 = 110 100×6 110
    assert ws2812([(0x00, 0xFF, 0x81)])[1:10].hex(" ") == "db 6d b6 92 49 24 d2 49 26"
    assert ws2812([])[1:] == RESET == bytes(90)
    assert len(RESET) * 8 / 2_400_000 >= 280e-6


def test_every_state_has_a_look_and_looks_different() -> None:
    """At least 14 states; no two have colour and pattern in common, but for a rhythm of their own."""
    assert set(LOOKS) == set(Indicator) and len(LOOKS) >= 14
    plain = [look for look in LOOKS.values() if look.pattern != "rhythm"]
    assert len(set(plain)) == len(plain)


@given(
    st.sampled_from([i for i in Indicator if i is not Indicator.MUTED]),
    st.sampled_from(sorted(PATTERNS)), st.integers(0, 100_000), st.integers(2, 128),
)  # fmt: skip
def test_muted_is_visible_whatever_is_shown(indicator: Indicator, pattern: str, t: int, count: int) -> None:
    """In any state, pattern and moment the first pixel and the opposite one are red; without mute they are not."""
    look = Look((0, 200, 255), pattern)
    muted = frame(indicator, look, t, 0.5, count, True)
    assert (muted[0], muted[count // 2]) == (RED, RED)
    assert RED not in frame(indicator, look, t, 0.5, count, False)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("indicator", Indicator)
@pytest.mark.parametrize("count", [1, 3, 12])
def test_no_pixel_flashes_more_than_three_times_a_second(pattern: str, indicator: Indicator, count: int) -> None:
    """Whatever pattern is configured for whichever state, and however the level jumps (WCAG 2.3.1)."""
    envelope, look = Envelope(), Look((255, 255, 255), pattern)
    levels = [0.0, 1.0] * 100
    frames = []
    for n in range(100):  # five seconds
        level = envelope.follow(levels[n], n / 20) if pattern == "level" else 0.5
        frames.append(frame(indicator, look, 50 * n, level, count, False))
    for pixel in range(count):
        bright = [shown[pixel][0] for shown in frames]
        rises = [n for n, (a, b) in enumerate(pairwise(bright)) if b > a and (n == 0 or bright[n - 1] >= a)]
        for first in range(80):
            assert sum(first <= rise < first + 20 for rise in rises) <= 3


def test_the_level_is_followed() -> None:
    """A look that follows the level is brighter when it is louder, and never dark."""
    look = LOOKS[Indicator.SPEAKING]
    quiet, loud = (frame(Indicator.SPEAKING, look, 0, loudness(db), 1, False)[0][1] for db in (-60.0, -20.0))
    assert 50 < quiet < 120 < 200 < loud


def test_the_volume_is_a_bar() -> None:
    """Half the volume lights half the chain."""
    shown = frame(Indicator.VOLUME, LOOKS[Indicator.VOLUME], 0, 0.5, 12, False)
    assert [bool(pixel[0]) for pixel in shown] == [True] * 6 + [False] * 6


def written(settings: Lights, *shows: tuple[Indicator, int, float, bool]) -> list[bytes]:
    sent: list[bytes] = []
    with ExitStack() as stack:
        light = open_light(settings, None, sent.append, stack)
        assert light is not None
        for indicator, t, level, muted in shows:
            light.show(indicator, t, level, muted, t / 1000)
    return sent


def test_a_chain_is_written_only_when_something_changes() -> None:
    """A steady state is one transfer, whose bytes are the encoder's."""
    calm = (Indicator.MUTED, 0, 0.0, True), (Indicator.MUTED, 500, 0.0, True)
    assert written(Lights(kind="apa102", count=2, brightness=100), *calm) == [apa102([RED, RED], 31)]
    assert written(Lights(kind="ws2812", count=2, brightness=50), *calm) == [ws2812([(128, 0, 0)] * 2)]


def test_colours_and_patterns_by_state() -> None:
    """What is configured counts, but muted stays as it is."""
    wishes = {"colours": {"idle": "#010203", "muted": "#00ff00"}, "patterns": {"idle": "steady", "muted": "breathe"}}
    lights = Lights(kind="apa102", count=2, brightness=100, **wishes)
    assert "lights.colours.muted: muted is always red" in "\n".join(p for _, p in checks._lights(_settings(lights)))
    assert written(lights, (Indicator.IDLE, 9, 0.0, False)) == [apa102([(1, 2, 3)] * 2, 31)]


def _settings(lights: Lights, **panel: int):
    from device_agent.config.schema import Settings as All

    return All(lights=lights, panel=Settings(**panel))


@pytest.mark.parametrize(
    ("lights", "panel", "problem"),
    [
        (Lights(kind="pwm"), {}, "needs panel.led_pin"),
        (Lights(kind="rgb", red_pin=5), {}, "needs lights.red_pin, lights.green_pin and lights.blue_pin"),
        (Lights(spi="zero"), {}, 'lights.spi must be BUS.SELECT, e.g. "0.0"'),
        (Lights(kind="apa102"), {"button_pin": 10}, "panel.button_pin is 10, which is MOSI of the SPI"),
        (Lights(colours={"disco": "#000000"}), {}, "there is no such state"),
        (Lights(colours={"idle": "blue"}), {}, "must be #rrggbb"),
        (Lights(patterns={"idle": "strobe"}), {}, "must be one of: steady"),
        (Lights(kind="rgb", red_pin=5, green_pin=5, blue_pin=6), {}, "are both 5"),
    ],
)
def test_mistakes_are_named(lights: Lights, panel: dict[str, int], problem: str) -> None:
    """Each in one line, by `config check`, before anything starts."""
    assert problem in "\n".join(text for _, text in checks.contradictions(_settings(lights, **panel)))


def test_the_checks_know_all_states_and_patterns() -> None:
    """They need not import the panel for it."""
    assert {i.value for i in Indicator} - {"muted"} == set(checks.LIGHT_STATES)
    assert set(PATTERNS) == set(checks.PATTERNS)


def test_spi_that_is_off_is_said_with_the_remedy(tmp_path: Path) -> None:
    """No device: SPI is off."""
    with ExitStack() as stack, pytest.raises(OSError, match="SPI is off; switch it on"):
        open_spi(Lights(kind="apa102"), stack, tmp_path)


def test_no_right_to_spi_names_the_group() -> None:
    """A device that may not be used."""
    from device_agent.panel.lights import _remedy

    assert "group spi" in _remedy(PermissionError(13, "denied"), Path("/dev/spidev0.0"))


@pytest.mark.parametrize(
    ("lights", "panel", "shown"),
    [
        (Lights(kind="pwm", brightness=50), Settings(led_pin=27), 0.5),
        (Lights(kind="rgb", red_pin=5, green_pin=6, blue_pin=13, brightness=50), Settings(), (0.5, 0.0, 0.0)),
    ],
)
def test_one_led_with_brightness(lights: Lights, panel: Settings, shown: object) -> None:
    """Muted is red, on one LED without colours just bright; both through gpiozero's own classes."""
    with ExitStack() as stack:
        pins = open_pins(panel, mock_factory(pwm=True), stack, lights)
        light = open_light(lights, pins.led, None, stack)
        assert isinstance(light, Pixels)
        light.show(Indicator.MUTED, 0, 0.0, True, 0.0)
        assert pins.led.value == shown
        light.close()
        assert not pins.led.is_lit


def test_what_stands_still_needs_no_ticks() -> None:
    """A steady look is drawn once."""
    assert not moves(Indicator.MUTED, LOOKS[Indicator.MUTED])
    assert moves(Indicator.IDLE, LOOKS[Indicator.IDLE])


def test_the_sheet_in_the_docs_is_current() -> None:
    """`python -m device_agent.panel.sheet > docs/lights.svg` brings it up to date."""
    assert (DOCS / "lights.svg").read_text("utf-8") == sheet()


def test_a_touch_is_answered_once_and_stays() -> None:
    """However often it is shown while it lasts, and at whatever millisecond first; the next touch is answered anew."""
    led = SimpleNamespace(value=False)
    light = Blinker(led)

    def show(indicator: Indicator, t: int) -> bool:
        light.show(indicator, t, 0.0, False, 0.0)
        return bool(led.value)

    dark = show(Indicator.IDLE, 500)
    assert [show(Indicator.TOUCH, t) for t in (0, 0, 40)] == [not dark] * 3
    dark = show(Indicator.IDLE, 500)
    assert [show(Indicator.TOUCH, t) for t in (3, 90)] == [not dark] * 2
