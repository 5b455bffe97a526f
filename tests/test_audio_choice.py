"""Which card: matches that stay right when cards are renumbered, and what is taken when nothing is configured."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakeCards

from device_agent.audio.choice import MICROPHONE, Candidate, NotThere, NotUnique, Search, candidates, choose, expected
from device_agent.audio.hardware import Hardware, Machine
from device_agent.config.cards import parse
from device_agent.errors import AudioError


def there(root: Path, *names: str) -> list[Candidate]:
    return candidates([{"name": name, "index": index} for index, name in enumerate(names)], Machine(root, {}).cards())


@pytest.fixture
def desk(tmp_path: Path) -> list[Candidate]:
    """Two equal USB cards, a loopback with two devices, and names of ALSA's configuration."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Device", "USB PnP Sound", usb="1-1.2", usb_id="0d8c:0014")
    kernel.plug(1, "Device_1", "USB PnP Sound", usb="1-1.3", usb_id="0d8c:0014")
    kernel.plug(2, "Loopback", "Loopback", driver="Loopback")
    kernel.plug(3, "Jabra", "Jabra Speak 510", usb="1-2", usb_id="0b0e:0422")
    names = (
        "USB PnP Sound: - (hw:0,0)",
        "USB PnP Sound: - (hw:1,0)",
        "Loopback: PCM (hw:2,1)",
        "Loopback: PCM (hw:2,0)",
    )
    return there(tmp_path, *names, "Jabra Speak 510: - (hw:3,0)", "pulse", "pulse-mono", "default")


@pytest.mark.parametrize(
    ("text", "name"),
    (
        ("jabra", "Jabra Speak 510: - (hw:3,0)"),
        ("pulse", "pulse"),
        ("re:^Jabra.*5\\d0", "Jabra Speak 510: - (hw:3,0)"),
        ("id:Device_1", "USB PnP Sound: - (hw:1,0)"),
        ("hw:CARD=Device_1,DEV=0", "USB PnP Sound: - (hw:1,0)"),
        ("plughw:Device", "USB PnP Sound: - (hw:0,0)"),
        ("usb:0B0E:0422", "Jabra Speak 510: - (hw:3,0)"),
        ("usb:1-1.3", "USB PnP Sound: - (hw:1,0)"),
        ("loopback", "Loopback: PCM (hw:2,0)"),
        ("id:Loopback,1", "Loopback: PCM (hw:2,1)"),
    ),
)
def test_a_match_finds_its_card(desk: list[Candidate], text: str, name: str) -> None:
    """By name in any case (an exact one wins), expression, ALSA id, USB product or USB socket; its first device."""
    assert choose("microphone", parse(text), desk).name == name


def test_two_cards_of_one_product_are_not_mixed_up(desk: list[Candidate]) -> None:
    """What fits both is refused, with the names and where to look."""
    for text in ("usb:0d8c:0014", "USB PnP", "re:USB"):
        with pytest.raises(
            NotUnique, match=r"2 cards match: .*hw:0,0.*hw:1,0.*be more exact \(`device-agent bench cards`"
        ):
            choose("microphone", parse(text), desk)


def test_a_match_without_a_card_lists_what_there_is(desk: list[Candidate]) -> None:
    """Also that there is nothing."""
    with pytest.raises(NotThere, match="loudspeaker 'id:Nix': no card matches; there are: USB PnP"):
        choose("loudspeaker", parse("id:Nix"), desk)
    with pytest.raises(NotThere, match="there are: none"):
        choose("loudspeaker", parse("id:Nix"), [])


@pytest.mark.parametrize(
    ("text", "said"),
    (
        ("3", "'3' is a number, which the next start may give to another card"),
        ("hw:1,0", "is a number"),
        ("plughw:2", "is a number"),
        ("re:(", r"'re:\(' is not a regular expression: missing \), unterminated subpattern"),
        ("usb:0d8c", "must be usb:VENDOR:PRODUCT"),
        ("  ", "an empty entry fits every card"),
    ),
)
def test_what_is_no_stable_match_is_refused(text: str, said: str) -> None:
    """One line with the remedy."""
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_a_card_is_what_stays_when_its_number_changes(tmp_path: Path) -> None:
    """After another boot the match finds the same card under another number."""
    kernel = FakeCards(tmp_path)
    kernel.plug(7, "Jabra", "Jabra Speak 510", usb="1-2", usb_id="0b0e:0422")
    assert choose("m", parse("usb:1-2"), there(tmp_path, "Jabra Speak 510: - (hw:7,0)")).device == 0


CAMERA = Hardware(0, "C920", "HD Pro Webcam C920", "USB-Audio", "1-1", "046d:082d", camera=True)
HDMI = Hardware(1, "vc4hdmi0", "vc4-hdmi-0", "vc4-hdmi")
JACK = Hardware(2, "Headphones", "bcm2835 Headphones", "bcm2835_headpho")
DUMMY = Hardware(3, "Dummy", "Dummy", "Dummy")
SPEAKERPHONE = Hardware(4, "Jabra", "Jabra Speak 510", "USB-Audio", "1-2", "0b0e:0422")


def candidate(hardware: Hardware) -> Candidate:
    return Candidate({"name": f"{hardware.name}: - (hw:{hardware.number},0)", "index": 0}, hardware)


def taken(*cards: Hardware, names: tuple[str, ...] = (), configured: bool = False) -> tuple[object, str]:
    """The hardware that is taken unasked (None: ALSA's default), and what is said."""
    plain = [Candidate({"name": name, "index": 9}) for name in ("default", *names)]
    found, note = expected([*map(candidate, cards), *plain], "default", configured)
    return found and found.hardware, note


def test_an_unasked_choice_is_the_one_that_a_person_would_make() -> None:
    """USB before built in, both before what has nothing attached; a webcam and HDMI come last."""
    assert taken(CAMERA, HDMI, JACK, DUMMY, SPEAKERPHONE) == (SPEAKERPHONE, "")
    assert taken(CAMERA, HDMI, JACK, DUMMY) == (JACK, "")
    assert taken(HDMI, DUMMY) == (DUMMY, "")


def test_a_webcam_or_hdmi_is_never_taken_in_silence() -> None:
    """Only where there is nothing else, which is said. HDMI goes through ALSA's default, which knows its format."""
    why = "taken because there is no other card"
    assert taken(CAMERA) == (CAMERA, f"'HD Pro Webcam C920: - (hw:0,0)' is a camera's microphone, {why}")
    assert taken(HDMI) == (None, f"'vc4-hdmi-0: - (hw:1,0)' is an HDMI output, {why}")


def test_who_has_chosen_already_is_respected() -> None:
    """A sound server, a configuration of ALSA, a machine without drivers: their default."""
    assert taken(JACK, names=("pulse",)) == (None, "")
    assert taken(JACK, names=("pipewire",)) == (None, "")
    assert taken(JACK, configured=True) == (None, "")
    assert taken() == (None, "")


def test_a_camera_is_known_by_its_video(tmp_path: Path) -> None:
    """Its name need not say it: another interface of the same device does."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Q", "Logi 4K Pro", usb="1-1", usb_id="046d:0001", video=True)
    kernel.plug(1, "P", "Plain", usb="1-2", usb_id="046d:0002")
    cards = Machine(tmp_path, {}).cards()
    assert cards[0].last_resort == "a camera's microphone" and not cards[1].last_resort


def test_what_hinders_a_card_is_said_in_words(tmp_path: Path) -> None:
    """No such direction, in use, or not allowed."""
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "A", "A", pcm="p")
    machine = Machine(tmp_path, {})
    assert machine.obstacle(0, output=False) == "has no input: choose another one"
    assert machine.obstacle(0, output=True) == ""
    kernel.hold(0, "p", 99, "aplay")
    assert machine.obstacle(0, output=True) == "is in use by aplay (process 99): close that program"
    (tmp_path / "proc/99/comm").unlink()
    assert "process 99" in machine.obstacle(0, output=True)
    kernel.hold(0, "p", None)
    (tmp_path / "dev/snd/pcmC0D0p").unlink()
    assert "usermod -aG audio" in machine.obstacle(0, output=True)


def test_a_sound_server_that_starts_anew_is_seen(tmp_path: Path) -> None:
    """Its socket is another one; a server elsewhere is at least known by name."""
    (tmp_path / "run/pulse").mkdir(parents=True)
    machine = Machine(tmp_path, {})
    before = machine.surroundings()
    (tmp_path / "run/pulse/native").touch()
    first = machine.surroundings()
    (tmp_path / "run/pulse/native").rename(tmp_path / "old")
    (tmp_path / "run/pulse/native").touch()
    assert len({before, first, machine.surroundings()}) == 3
    assert len(Machine(tmp_path / "none", {"PULSE_SERVER": "tcp:1.2.3.4"}).surroundings()) == 2


def test_who_has_configured_alsa_is_noticed(tmp_path: Path) -> None:
    """For the machine or for the user."""
    assert not Machine(tmp_path, {"HOME": str(tmp_path)}).alsa_is_configured()
    (tmp_path / ".asoundrc").touch()
    assert Machine(tmp_path, {"HOME": str(tmp_path)}).alsa_is_configured()


def test_without_any_card_portaudios_view_is_explained(tmp_path: Path) -> None:
    """Nothing there; or a card that PortAudio could not open when it looked, which is awaited."""
    kernel = FakeCards(tmp_path)
    search = Search(MICROPHONE, [], Machine(tmp_path, {}), lambda: None)
    with pytest.raises(NotThere, match="no microphone: no sound card offers one"):
        next(search.choices(()))()
    kernel.plug(5, "Mic", "USB Mic", pcm="c")
    kernel.hold(5, "c", 3)
    with pytest.raises(NotThere, match="microphone 'USB Mic' is in use by arecord"):
        next(search.choices(()))()
    assert search.awaited == [5]


def test_no_default_names_the_setting(tmp_path: Path) -> None:
    """The remedy is a line of the configuration."""
    search = Search(MICROPHONE, there(tmp_path, "A"), Machine(tmp_path, {}), lambda: None)
    with pytest.raises(AudioError, match=r"no default microphone: set audio\.input to one of A"):
        next(search.choices(()))()
