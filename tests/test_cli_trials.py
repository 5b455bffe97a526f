"""Setup's trials: one signed URL from a server on loopback, and an echo through fake cards."""

from __future__ import annotations

import array
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from device_agent.audio.devices import Devices
from device_agent.audio.hardware import Machine
from device_agent.cli.trials import echo, prove
from device_agent.config.schema import Agent, Audio, Server, Settings
from device_agent.config.secrets import Secrets
from device_agent.errors import AudioError, ServiceError

GOOD_KEY = "sk_0123456789abcdef"


class Service(BaseHTTPRequestHandler):
    """Knows one key and one agent."""

    def do_GET(self) -> None:
        known = self.path == "/v1/convai/conversation/get-signed-url?agent_id=agent_1"
        status = 401 if self.headers["xi-api-key"] != GOOD_KEY else 200 if known else 404
        body = b'{"signed_url": "wss://api.elevenlabs.io/v1/convai/conversation?conversation_signature=CANARY"}'
        self.wfile.write(b"HTTP/1.1 %d answer\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def log_message(self, format: str, *args: Any) -> None:
        """A test is silent."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"ws://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def settings(address: str, agent_id: str = "agent_1") -> Settings:
    return Settings(agent=Agent(id=agent_id), server=Server(url=address))


def test_a_right_key_and_agent_are_proved_by_one_signed_url(address: str) -> None:
    """Nothing is raised, and the URL is not kept."""
    prove(settings(address), Secrets(GOOD_KEY))


def test_a_wrong_key_an_unknown_agent_and_no_network_are_one_line_each(address: str) -> None:
    """Each line names the host and the remedy (exit code 69)."""
    host = address.replace("ws://", "http://")
    with pytest.raises(ServiceError) as wrong_key:
        prove(settings(address), Secrets("sk_wrong"))
    assert str(wrong_key.value) == f"{host}: the service refuses the key: run `device-agent setup`"
    with pytest.raises(ServiceError) as unknown_agent:
        prove(settings(address, "agent_2"), Secrets(GOOD_KEY))
    assert str(unknown_agent.value) == f"{host}: there is no such agent: check agent.id"
    with pytest.raises(ServiceError) as no_network:
        prove(settings("ws://127.0.0.1:1"), Secrets(GOOD_KEY))
    assert str(no_network.value) == "http://127.0.0.1:1: is the network up? (network: Connection refused)"


class Sound:
    """Two cards in one: a microphone that hears `heard`, and a loudspeaker that keeps what it is given."""

    def __init__(self, heard: int, output_channels: int = 1, available: int = 5000, room: int = 5000) -> None:
        self._heard = heard
        self._output_channels = output_channels
        self._available = available
        self._room = room
        self.played = array.array("h")

    def get_device_count(self) -> int:
        return 1

    def get_device_info_by_index(self, device_index: int) -> dict[str, Any]:
        return {"index": 0, "name": "fake", "maxInputChannels": 1, "maxOutputChannels": self._output_channels}

    def get_default_input_device_info(self) -> dict[str, Any]:
        return self.get_device_info_by_index(0)

    get_default_output_device_info = get_default_input_device_info

    def open(self, **wanted: Any) -> Sound:
        if wanted["rate"] != 48_000 or ("output" in wanted and wanted["channels"] != self._output_channels):
            raise OSError(-9997, "Invalid sample rate")
        return self

    def get_read_available(self) -> int:
        return self._available

    def get_write_available(self) -> int:
        return self._room

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        return array.array("h", [self._heard] * num_frames).tobytes()

    def write(self, frames: bytes, num_frames: int, exception_on_underflow: bool) -> None:
        self.played.frombytes(frames)

    def close(self) -> None:
        """Nothing to give back."""

    def terminate(self) -> None:
        """Nothing to end."""


def run_echo(sound: Sound) -> None:
    devices = Devices(Audio(), start=lambda: sound, machine=Machine(Path("/nowhere"), {}))
    try:
        echo(devices, pause=lambda _: None)
    finally:
        devices.terminate()


@pytest.mark.parametrize("channels", [1, 2])
def test_what_was_said_is_played_back_on_every_channel(channels: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Three seconds, then a short silence that pushes them out; the level is printed."""
    sound = Sound(heard=3277, output_channels=channels)
    run_echo(sound)
    assert sound.played[: 3 * 48_000 * channels] == array.array("h", [3277] * 3 * 48_000 * channels)
    assert not any(sound.played[3 * 48_000 * channels :])
    assert "This is what I heard, at -20 dBFS." in capsys.readouterr().out


def test_a_silent_microphone_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Digital silence means a muted or wrong microphone."""
    run_echo(Sound(heard=0))
    assert "That was silence: is the microphone muted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sound", "problem"),
    [
        (Sound(heard=1, available=-9988), "microphone 'fake' delivers nothing"),
        (Sound(heard=1, available=0), "microphone 'fake' delivers nothing"),
        (Sound(heard=1, room=0), "loudspeaker 'fake' takes nothing"),
    ],
    ids=["pulled out", "silent for ever", "full for ever"],
)
def test_a_card_that_does_not_move_is_one_line(sound: Sound, problem: str) -> None:
    """A card that is pulled out, or moves no sample for 2.5 s, ends the trial with the remedy."""
    with pytest.raises(AudioError, match=f"{problem}: plug it in again, or choose another one"):
        run_echo(sound)
