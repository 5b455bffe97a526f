"""Finding and opening cards, in words that help, on a simulated PortAudio."""

from __future__ import annotations

import array
import threading
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCards

from device_agent.audio import host
from device_agent.audio.card import INPUT_RATES, OUTPUT_RATES
from device_agent.audio.choice import NotThere
from device_agent.audio.devices import Devices
from device_agent.audio.hardware import Machine
from device_agent.config.schema import Audio
from device_agent.errors import AudioError
from device_agent.runtime import speexdsp


class FakeStream:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class FakeHost:
    """Cards by name; `refuse` maps (rate, channels) to an error number."""

    def __init__(
        self, *names: str, refuse: Any = lambda rate, channels: 0, default: bool = True, channels: int = 2
    ) -> None:
        self.names, self.refuse, self.default, self.channels = names, refuse, default, channels
        self.opened: list[dict[str, Any]] = []
        self.terminated = 0

    def get_device_count(self) -> int:
        return len(self.names)

    def get_device_info_by_index(self, device_index: int) -> dict[str, Any]:
        name, most = self.names[device_index], self.channels
        return {"index": device_index, "name": name, "maxInputChannels": most, "maxOutputChannels": most}

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


def devices(fake: FakeHost, root: Path = Path("/nonexistent"), **settings: Any) -> Devices:
    return Devices(Audio(**settings), start=lambda: fake, machine=Machine(root, {}))


def test_the_default_microphone_is_opened_at_16_khz_mono() -> None:
    """A sound server converts well: ask it for what we need, with 40 ms per period."""
    fake = FakeHost("default")
    card = devices(fake).open_input()
    assert (card.rate, card.channels) == (16_000, 1)
    assert fake.opened[0]["frames_per_buffer"] == 640 and fake.opened[0]["input_device_index"] == 0


def test_no_stream_is_used_while_a_card_opens() -> None:
    """Whoever is in a turn is waited for; whoever comes meanwhile is sent away, and may come again after it."""
    asked: list[bool] = []

    def refuse(rate: int, channels: int) -> int:
        asked.append(cards.entered("playback"))
        return 0

    cards = devices(FakeHost("default", refuse=refuse))
    opened = threading.Event()
    assert cards.entered("playback")
    opener = threading.Thread(target=lambda: (cards.open_input(), opened.set()))
    opener.start()
    assert not opened.wait(0.05) and not asked
    cards.left("playback")
    assert opened.wait(5)
    opener.join()
    assert asked == [False]
    assert cards.entered("playback")


def test_who_hangs_in_a_turn_keeps_no_other_card_out() -> None:
    """A turn takes milliseconds: after a quarter of a second it is not waited for any more."""
    cards = devices(FakeHost("default"))
    assert cards.entered("playback")
    assert cards.open_input().rate == 16_000


def test_a_raw_card_is_asked_for_what_the_agent_hears(tmp_path: Path) -> None:
    """Then nothing has to be converted; else for 48 kHz, which nearly all have."""
    FakeCards(tmp_path).plug(1, "Device", "USB Audio", usb="1-1", usb_id="0d8c:0014")
    assert devices(FakeHost("USB Audio: - (hw:1,0)"), tmp_path).open_input().rate == 16_000
    only_48 = FakeHost("USB Audio: - (hw:1,0)", refuse=lambda rate, _: 0 if rate == 48_000 else -9997)
    assert devices(only_48, tmp_path).open_input().rate == 48_000


def test_the_loudspeaker_is_opened_at_48_khz_with_20_ms_periods() -> None:
    """Most cards' own rate."""
    fake = FakeHost("default")
    assert devices(fake).open_output().rate == 48_000
    assert (fake.opened[0]["frames_per_buffer"], fake.opened[0]["channels"]) == (960, 1)


def test_both_sides_of_a_raw_loudspeaker_sound(tmp_path: Path) -> None:
    """Of mono PortAudio would fill the left one only."""
    FakeCards(tmp_path).plug(1, "Device", "USB Audio")
    assert devices(FakeHost("USB Audio: - (hw:1,0)"), tmp_path).open_output().channels == 2
    assert devices(FakeHost("USB Audio: - (hw:1,0)", channels=1), tmp_path).open_output().channels == 1


def test_rates_and_channels_are_probed() -> None:
    """Mono at every rate first, then stereo."""
    only = lambda rate, channels: 0 if (rate, channels) == (96_000, 2) else -9997  # noqa: E731
    card = devices(FakeHost("x", refuse=only)).open_input()
    assert (card.rate, card.channels) == (96_000, 2)


@pytest.mark.parametrize(
    ("channel", "raw", "opened", "first"),
    ((0, True, 1, 0), (1, True, 1, 0), (5, True, 5, 4), (-1, True, 6, 3), (0, False, 1, 0), (-1, False, 1, 0)),
)
def test_a_channel_of_a_microphone_can_be_chosen(
    tmp_path: Path, channel: int, raw: bool, opened: int, first: int
) -> None:
    """The first of a raw card, another one, or the mean of all; a sound server mixes by itself."""
    if raw:
        FakeCards(tmp_path).plug(0, "Array", "Mic Array")
    name = "Mic Array: - (hw:0,0)" if raw else "default"
    card = devices(FakeHost(name, channels=6), tmp_path, input_channel=channel).open_input()
    assert card.channels == opened
    frame = array.array("h", [0, 1, 2, 3, 4, 5, 6, 7][:opened] if channel != -1 else [0, 2, 4, 4, 4, 4][:opened])
    assert array.array("h", card.mono(frame.tobytes()))[0] == first if opened > 1 else card.mono(b"12") == b"12"


def test_a_channel_that_a_card_has_not_is_said(tmp_path: Path) -> None:
    """The remedy is a line of the configuration."""
    fake = FakeHost("x", refuse=lambda rate, channels: 0 if channels < 3 else -9998)
    with pytest.raises(AudioError, match=r"has not the channels that we need: .* audio\.input_channel = 0"):
        devices(fake, input_channel=3).open_input()


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
        (-9994, "neither 16-bit nor 24-bit nor 32-bit"),
        (-9985, "in use by another program"),
        (-9999, "is it plugged in"),
        (-9997, "none of the rates 8000, .* 192000 Hz"),
        (-9998, "not the channels"),
        (-9000, "unplug it"),
    ),
)
def test_portaudios_numbers_become_words(number: int, words: str) -> None:
    """Each says the thing and the remedy in one line."""
    with pytest.raises(AudioError, match=words) as caught:
        devices(FakeHost("A", refuse=lambda *_: number)).open_output()
    assert str(caught.value).startswith("loudspeaker 'A' ") and "\n" not in str(caught.value)


def test_a_renewal_waits_until_every_stream_is_closed() -> None:
    """The other thread is woken, closes, and only then PortAudio starts anew; once for both."""
    started = [FakeHost("A"), FakeHost("A", "B")]
    hosts = iter(started)
    owner = Devices(Audio(), start=lambda: next(hosts), machine=Machine(Path("/nonexistent"), {}))
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
    kernel = FakeCards(tmp_path)
    owner = devices(FakeHost("A"), tmp_path)
    card = owner.open_input()
    assert not owner.stale() and not owner.changed()
    kernel.plug(1, "B", "B")
    assert owner.stale() and owner.changed()
    owner.renewals, seen = 0, 0
    owner.close(card)
    owner.renew(seen)
    assert not owner.changed()
    assert owner.stale(AudioError("it broke"))


def test_without_a_card_or_a_sound_server_nothing_is_started_anew(tmp_path: Path) -> None:
    """A start costs as much as a second of conversation: only a card that comes is worth it, or a server that may."""
    kernel = FakeCards(tmp_path)
    owner = devices(FakeHost(), tmp_path)
    with pytest.raises(NotThere) as caught:
        owner.open_input()
    assert not owner.stale(caught.value)
    kernel.plug(0, "A", "A")
    assert owner.stale(caught.value)
    server = Devices(Audio(), start=FakeHost, machine=Machine(tmp_path, {"PULSE_SERVER": "tcp:1.2.3.4"}))
    with pytest.raises(NotThere) as caught:
        server.open_input()
    assert server.stale(caught.value)


def test_a_card_in_use_is_awaited(tmp_path: Path) -> None:
    """PortAudio leaves it out of its list: the owner is named, and a new start follows when it is free, not before."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Mic", "USB Mic", usb="1-1", usb_id="0d8c:0014")
    kernel.hold(0, "c", 4711)
    owner = devices(FakeHost("other"), tmp_path, input=("usb:0d8c:0014",))
    speaker = owner.open_output()
    with pytest.raises(NotThere, match=r"'usb:0d8c:0014' \(USB Mic\) is in use by arecord \(process 4711\)") as caught:
        owner.open_input()
    assert not owner.stale(caught.value)
    kernel.hold(0, "c", None)
    assert owner.stale(caught.value)
    owner.close(speaker)


def test_a_card_that_is_never_found_disturbs_only_so_often(tmp_path: Path) -> None:
    """It is listed and free, but PortAudio does not take it: three new starts, then the other stream has peace."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Mic", "Odd Mic")
    owner = devices(FakeHost("other"), tmp_path, input=("Odd",))
    owner.open_output()
    with pytest.raises(NotThere, match="does not answer") as caught:
        owner.open_input()
    assert [owner.stale(caught.value) for _ in range(4)] == [True, True, True, False]


def test_a_busy_raw_card_names_its_user(tmp_path: Path) -> None:
    """PortAudio's number says only that it is busy."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Mic", "USB Mic")
    kernel.hold(0, "c", 12, "pipewire")
    fake = FakeHost("USB Mic: - (hw:0,0)", refuse=lambda *_: -9985)
    with pytest.raises(AudioError, match=r"'USB Mic: - \(hw:0,0\)' is in use by pipewire \(process 12\): close"):
        devices(fake, tmp_path).open_input()


def test_the_next_choice_is_taken_and_the_first_is_missed(tmp_path: Path) -> None:
    """In order of preference; what is wrong with the earlier ones is noted, or said when none works."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "B", "Beta")
    card = devices(FakeHost("Beta: - (hw:0,0)"), tmp_path, input=("Alpha", "Beta")).open_input()
    assert card.name.startswith("Beta") and card.note.startswith("microphone 'Alpha': no card matches")
    with pytest.raises(NotThere, match=r"'Alpha': no card .*; microphone 'Gamma': no card"):
        devices(FakeHost("Beta: - (hw:0,0)"), tmp_path, input=("Alpha", "Gamma")).open_input()


def test_an_open_card_knows_whether_it_is_still_there(tmp_path: Path) -> None:
    """The kernel's list shows it sooner than the samples that do not come."""
    kernel = FakeCards(tmp_path)
    kernel.plug(3, "A", "A")
    card = devices(FakeHost("A: - (hw:3,0)"), tmp_path).open_input()
    assert not card.gone()
    kernel.unplug(3)
    assert card.gone()


def test_without_a_converter_the_agents_rate_is_tried_first() -> None:
    """A loudspeaker that takes 16 kHz needs none."""
    assert OUTPUT_RATES[0] == 48_000 and INPUT_RATES[0] == 16_000
    assert not speexdsp.available("libnothing.so.1")


def test_a_thread_that_does_not_let_go_is_a_fault() -> None:
    """After its patience only a new process helps, and the error is not one that is retried."""
    owner = Devices(Audio(), lambda: FakeHost("A"), Machine(Path("/nonexistent"), {}), patience_s=0.05)
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


def test_libpulse_keeps_its_settings_but_shares_no_memory(tmp_path: Path) -> None:
    """A person's own configuration goes before the system's, with its parts in order; ours is the last word."""
    home, system = tmp_path / "home", tmp_path / "etc"
    for file in (system / "client.conf", system / "client.conf.d/b.conf", system / "client.conf.d/a.conf"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    parts = ("client.conf", "client.conf.d/a.conf", "client.conf.d/b.conf")
    assert host.pulse_settings(home, system).splitlines() == [
        *(f".include {system / part}" for part in parts), "enable-shm = no"
    ]  # fmt: skip
    own = home / ".config/pulse/client.conf"
    own.parent.mkdir(parents=True)
    own.touch()
    assert host.pulse_settings(home, system) == f".include {own}\nenable-shm = no\n"
    assert host.pulse_settings(tmp_path / "nobody", tmp_path / "nothing") == "enable-shm = no\n"
