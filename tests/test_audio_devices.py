"""Finding and opening cards, in words that help, on a simulated PortAudio."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from device_agent.audio import host
from device_agent.audio.devices import Devices
from device_agent.config.schema import Audio
from device_agent.errors import AudioError


class FakeStream:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class FakeHost:
    """Cards by name; `refuse` maps (rate, channels) to an error number."""

    def __init__(self, *names: str, refuse: Any = lambda rate, channels: 0, default: bool = True) -> None:
        self.names, self.refuse, self.default = names, refuse, default
        self.opened: list[dict[str, Any]] = []
        self.terminated = 0

    def get_device_count(self) -> int:
        return len(self.names)

    def get_device_info_by_index(self, device_index: int) -> dict[str, Any]:
        return {"index": device_index, "name": self.names[device_index], "maxInputChannels": 1, "maxOutputChannels": 2}

    def get_default_input_device_info(self) -> dict[str, Any]:
        if not self.default:
            raise OSError("No Default Input Device Available")
        return self.get_device_info_by_index(0)

    get_default_output_device_info = get_default_input_device_info

    def open(self, **settings: Any) -> FakeStream:
        self.opened.append(settings)
        if error := self.refuse(settings["rate"], settings["channels"]):
            raise OSError(error, "refused")
        return FakeStream()

    def terminate(self) -> None:
        self.terminated += 1


def devices(fake: FakeHost, **settings: Any) -> Devices:
    return Devices(Audio(**settings), start=lambda: fake, cards=Path("/nonexistent"))


def test_the_default_microphone_is_opened_at_16_khz_mono() -> None:
    """A sound server converts well: ask it for what we need, with 40 ms per period."""
    fake = FakeHost("default")
    card = devices(fake).open_input()
    assert (card.rate, card.channels) == (16_000, 1)
    assert fake.opened[0]["frames_per_buffer"] == 640 and fake.opened[0]["input_device_index"] == 0


def test_a_raw_card_is_opened_at_its_own_rate() -> None:
    """ALSA's conversion has no filter, ours has one."""
    assert devices(FakeHost("USB Audio: - (hw:1,0)")).open_input().rate == 48_000


def test_the_loudspeaker_is_opened_at_48_khz_with_20_ms_periods() -> None:
    """Most cards' own rate."""
    fake = FakeHost("default")
    assert devices(fake).open_output().rate == 48_000
    assert fake.opened[0]["frames_per_buffer"] == 960


def test_rates_and_channels_are_probed() -> None:
    """Mono at every rate first, then stereo."""
    only = lambda rate, channels: 0 if (rate, channels) == (44_100, 2) else -9997  # noqa: E731
    card = devices(FakeHost("x", refuse=only)).open_input()
    assert (card.rate, card.channels) == (44_100, 2)


def test_a_part_of_the_name_chooses_the_card() -> None:
    """Case does not matter; an exact name wins over those that contain it."""
    fake = FakeHost("default", "Jabra Speak", "USB", "USB Audio")
    assert devices(fake, input="jabra").open_input().name == "Jabra Speak"
    assert devices(fake, input="USB").open_input().name == "USB"
    assert devices(fake).names(output=True) == ["default", "Jabra Speak", "USB", "USB Audio"]


@pytest.mark.parametrize(("wanted", "said"), (("usb", "2 cards match"), ("nix", "no card matches")))
def test_no_or_several_matches_list_the_names(wanted: str, said: str) -> None:
    """The person sees what there is to choose from."""
    with pytest.raises(AudioError, match=f"microphone '{wanted}': {said}; there are: USB A, USB B"):
        devices(FakeHost("USB A", "USB B"), input=wanted).open_input()


def test_no_card_at_all_is_said() -> None:
    """An empty machine."""
    with pytest.raises(AudioError, match="no loudspeaker: no sound card offers one"):
        devices(FakeHost()).open_output()


def test_no_default_names_the_setting() -> None:
    """The remedy is a line of the configuration."""
    with pytest.raises(AudioError, match=r"no default microphone: set audio\.input to one of A"):
        devices(FakeHost("A", default=False)).open_input()


@pytest.mark.parametrize(
    ("number", "words"),
    (
        (-9996, "does not exist"),
        (-9985, "in use by another program"),
        (-9999, "is it plugged in"),
        (-9997, "none of the usual sample rates"),
        (-9998, "neither mono nor stereo"),
        (-9000, "unplug it"),
    ),
)
def test_portaudios_numbers_become_words(number: int, words: str) -> None:
    """Each says the thing and the remedy in one line."""
    with pytest.raises(AudioError, match=words) as caught:
        devices(FakeHost("A", refuse=lambda *_: number)).open_output()
    assert str(caught.value).startswith("loudspeaker 'A' ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("echo", "name", "half"),
    (
        ("auto", "Plantronics Headset", False),
        ("auto", "USB Audio", True),
        ("off", "USB Audio", False),
        ("half-duplex", "Headphones", True),
    ),
)
def test_half_duplex_is_for_open_loudspeakers(echo: str, name: str, half: bool) -> None:
    """auto means off for headsets only."""
    assert devices(FakeHost("A"), echo=echo).half_duplex(name) is half


def test_a_renewal_waits_until_every_stream_is_closed() -> None:
    """The other thread is woken, closes, and only then PortAudio starts anew; once for both."""
    started = [FakeHost("A"), FakeHost("A", "B")]
    hosts = iter(started)
    owner = Devices(Audio(), start=lambda: next(hosts), cards=Path("/nonexistent"))
    card = owner.open_output()
    asked = threading.Event()
    owner.watch(asked.set)

    def other() -> None:
        assert asked.wait(2) and owner.renewing
        owner.close(card)

    thread = threading.Thread(target=other)
    thread.start()
    owner.renew(0)
    thread.join()
    assert started[0].terminated == 1 and owner.names(output=False) == ["A", "B"]
    owner.renew(0)
    assert owner.renewals == 1 and not owner.renewing
    owner.terminate()
    assert started[1].terminated == 1


def test_a_new_start_is_worth_it_when_the_cards_changed_or_nobody_is_disturbed(tmp_path: Path) -> None:
    """A working stream is not interrupted for nothing."""
    listing = tmp_path / "cards"
    listing.write_text("0 [A]")
    owner = Devices(Audio(), start=lambda: FakeHost("A"), cards=listing)
    card = owner.open_input()
    assert not owner.stale()
    listing.write_text("0 [A] 1 [B]")
    assert owner.stale()
    owner.close(card)
    assert owner.stale()


def test_a_thread_that_does_not_let_go_is_a_fault() -> None:
    """After its patience only a new process helps, and the error is not one that is retried."""
    owner = Devices(Audio(), start=lambda: FakeHost("A"), patience_s=0.05)
    owner.open_input()
    with pytest.raises(RuntimeError, match="does not give back"):
        owner.renew(0)
    assert not owner.renewing


def test_noise_on_stderr_is_caught_and_stderr_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    """What C libraries print goes to the debug log."""
    import os

    noise = host.Noise()
    with noise.caught():
        os.write(2, b"ALSA lib complains\n")
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_a_sweep_finds_nothing_where_nothing_leaked() -> None:
    """Only descriptors and mappings of deleted PCM devices are touched."""
    assert host.sweep() == 0
