"""`device-agent setup wiring` on gpiozero's mock pins: each mistake of a hand with wires is named."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from device_agent.cli.wiring_trial import wiring_trial
from device_agent.config.buttons import Button
from device_agent.config.schema import Lights, Panel, Settings
from device_agent.errors import UsageError
from device_agent.panel.encode import apa102
from device_agent.panel.pins import mock_factory
from device_agent.setup.wiring import Edge, drawing, judge, judge_chain, judge_colours, to_paste

RED = Button("red", 5, False, {"": {"press": "stop"}})
TOUCH = Button("touch", 5, True, {"": {"press": "stop"}})
NAMES = {5: "button red", 6: "button blue"}
PRESS = [Edge(5, True, 1.0), Edge(5, False, 1.2)]


def test_a_good_button() -> None:
    """It goes low when it is pressed, and comes to rest."""
    assert judge(RED, NAMES, [], PRESS).wrong == ()


def test_an_inverted_button() -> None:
    """High when pressed, where low is expected; and the other way round."""
    found = judge(RED, NAMES, [], [Edge(5, False, 1.0), Edge(5, True, 1.2)])
    assert (found.wrong, found.active_high) == (("GPIO 5 is low at rest and high when it is pressed: inverted",), True)
    assert judge(TOUCH, NAMES, [], PRESS).wrong == ("GPIO 5 is high at rest and low when it is pressed: inverted",)
    assert judge(TOUCH, NAMES, [], [Edge(5, False, 1.0), Edge(5, True, 1.2)]).wrong == ()


def test_a_floating_input() -> None:
    """It moves while nobody touches it."""
    noise = [Edge(5, n % 2 == 0, n / 100) for n in range(10)]
    assert "it floats" in judge(RED, NAMES, noise, PRESS).wrong[0]


def test_a_bouncing_button() -> None:
    """What comes to rest later than the debounce allows is said, and the setting that suits it printed."""
    bouncing = [Edge(5, n % 2 == 0, 1.0 + n / 200) for n in range(9)]
    found = judge(RED, NAMES, [], bouncing)
    assert found.wrong == ("it bounces for 40 ms: panel.debounce_ms must be longer",)
    assert "debounce_ms = 60" in to_paste([found], "button", -1, 20)


def test_swapped_buttons() -> None:
    """The edge comes at the other one's pin: named, and right in what is printed."""
    found = judge(RED, NAMES, [], [Edge(6, True, 1.0), Edge(6, False, 1.1)])
    assert found.wrong == ("it is at GPIO 6, not 5: swapped with button blue",)
    assert "[panel.buttons.red]\npin = 6" in to_paste([found], "button", -1, 20)


def test_a_button_that_says_nothing() -> None:
    """No edge at all, but for the noise of another input."""
    noise = [Edge(6, n % 2 == 0, n / 100) for n in range(10)]
    assert judge(RED, NAMES, noise, [Edge(6, True, 1.0)]).wrong == (
        "nothing came at GPIO 5: check the wire; it goes between GPIO 5 and ground",
    )


def test_the_drawing_names_what_hangs_where() -> None:
    """GPIO 17 is pin 11 of the header; all 40 are drawn."""
    svg = drawing({17: "button talk"})
    assert svg.count("<circle") == 40
    assert ">button talk GPIO 17</text>" in svg
    assert ">11</text>" in svg


def test_the_whole_trial_on_mock_pins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The LED is lit and put out; a button nobody presses is named; the lines and the drawing are there."""
    factory = mock_factory()
    settings = Settings(panel=Panel(backend="mock", button_pin=17, led_pin=22))

    def look(question: str) -> str:
        return "y" if ("lit" in question) == bool(factory.pin(22).state) else "n"

    wiring_trial(settings, look, tmp_path / "w.svg", lambda: factory, patience_s=0.05, rest_s=0.01)
    said = capsys.readouterr().out
    assert "LED: good, at GPIO 22" in said
    assert "button button: nothing came at GPIO 17" in said
    assert "[panel]\nbutton_pin = 17\nled_pin = 22" in said
    assert "LED" in (tmp_path / "w.svg").read_text()


@pytest.mark.parametrize(
    ("lit", "dark", "said"),
    [("n", "y", "is inverted"), ("n", "n", "stays dark"), ("y", "n", "is always lit")],
)
def test_a_light_with_a_mistake(
    lit: str, dark: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told by two answers."""
    factory, answers = mock_factory(), iter((lit, dark))
    settings = Settings(panel=Panel(backend="mock", led_pin=22))
    wiring_trial(settings, lambda _: next(answers), tmp_path / "w.svg", lambda: factory, 0.01, 0.01)
    assert said in capsys.readouterr().out


def test_a_press_is_seen_through_gpiozero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The edges of a pin, pressed while it is asked for, are a good button."""
    factory = mock_factory()
    settings = Settings(panel=Panel(backend="mock", button_pin=17, led_pin=22))

    def press_after(question: str) -> str:
        if "dark" in question:  # the last question before the buttons: a hand that is early still counts as a hand
            threading.Timer(0.1, lambda: (factory.pin(17).drive_low(), factory.pin(17).drive_high())).start()
        return "y"

    wiring_trial(settings, press_after, tmp_path / "w.svg", lambda: factory, patience_s=5.0, rest_s=0.01)
    assert "button button: good, at GPIO 17" in capsys.readouterr().out


def test_without_pins_there_is_nothing_to_try(tmp_path: Path) -> None:
    """The remedy is an example."""
    with pytest.raises(UsageError, match=r"no pin is configured: e.g. --set panel.button_pin=17"):
        wiring_trial(Settings(), lambda _: "y", tmp_path / "w.svg")


RGB = Lights(kind="rgb", red_pin=5, green_pin=6, blue_pin=13)


def test_an_rgb_light_with_two_legs_swapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each pin is high alone while it is asked for; the answers give the pins to write."""
    factory, wired = mock_factory(pwm=True), {5: "green", 6: "red", 13: "blue"}

    def look(_question: str) -> str:
        (lit,) = [colour for pin, colour in wired.items() if factory.pin(pin).state]
        return lit[0]

    wiring_trial(Settings(lights=RGB), look, tmp_path / "w.svg", lambda: factory, 0.01, 0.01)
    said = capsys.readouterr().out
    assert "GPIO 5 lights green: swapped; GPIO 6 lights red: swapped" in said
    assert '[lights]\nkind = "rgb"\nred_pin = 6\ngreen_pin = 5\nblue_pin = 13\n' in said
    assert "green GPIO 5" in (tmp_path / "w.svg").read_text()
    assert not any(factory.pin(pin).state for pin in wired)


def test_a_chain_is_lit_first_in_red_then_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What went to the bus when each question was asked; dark at the end."""
    lights, sent, asked = Lights(kind="apa102", count=2, brightness=100), [b""], []
    dark, red, white = (0, 0, 0), (255, 0, 0), (255, 255, 255)
    answers = iter(("r", "", "n"))

    def look(_question: str) -> str:
        asked.append(sent[-1])
        return next(answers)

    settings = Settings(lights=lights)
    wiring_trial(settings, look, tmp_path / "w.svg", mock_factory, 0.01, 0.01, sent.append)
    assert asked == [apa102([red, dark]), apa102([white, white]), apa102([white, white])]
    assert sent[-1] == apa102([dark, dark])
    assert "lights (apa102): good\n\n" in (said := capsys.readouterr().out)
    assert '[lights]\nkind = "apa102"\ncount = 2\n' in said
    assert "MOSI GPIO 10" in (tmp_path / "w.svg").read_text()


def test_a_chain_without_its_bus_names_the_remedy(tmp_path: Path) -> None:
    """SPI is off on a fresh Raspberry Pi."""
    with pytest.raises(UsageError, match="SPI is off; switch it on"):
        settings = Settings(lights=Lights(kind="ws2812", spi="9.9"))
        wiring_trial(settings, lambda _: "y", tmp_path / "w.svg", mock_factory, 0.01, 0.01)


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        ({"red": "", "green": "", "blue": ""}, "it stays dark: its longest leg goes to ground"),
        ({"red": "", "green": "green", "blue": "blue"}, "GPIO 5 lights nothing: check its resistor and wire"),
    ],
)
def test_an_rgb_light_with_a_mistake(seen: dict[str, str], wrong: str) -> None:
    """All dark is the wrong kind of LED or its ground; one dark is its own wire."""
    assert judge_colours({"red": 5, "green": 6, "blue": 13}, seen).wrong[0].startswith(wrong)


@pytest.mark.parametrize(
    ("first", "lit", "more", "wrong"),
    [
        ("red", 3, False, ()),
        ("red", 0, False, ("it stays dark: check its supply, that data goes to its input, and lights.kind",)),
        ("green", 3, False, ("its first light is green, not red: is lights.kind right?",)),
        ("", 3, False, ("its first light stays dark in red: is lights.kind right?",)),
        ("red", 3, True, ("there are more lights than lights.count",)),
        ("red", 2, False, ("2 of 3 lights are lit: lights.count is 2, or the wire behind that one is broken",)),
    ],
)
def test_a_chain_with_a_mistake(first: str, lit: int, more: bool, wrong: tuple[str, ...]) -> None:
    """Colour tells the kind, number the length."""
    assert judge_chain(3, first, lit, more).wrong == wrong
