"""Real PyAudio on virtual cards: the witness is what the sound server heard, outside this process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from steady import pytest_runtest_protocol  # noqa: F401 (the hook that knows of stalls)

from device_agent.audio.capture import Capture
from device_agent.audio.devices import Devices
from device_agent.audio.playback import Playback
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.config.schema import Audio
from device_agent.core.events import DeviceUp, Event
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import CaptureRing, Chunk, PlaybackRing


class Facts:
    """What the drivers posted, with a rendezvous."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Event]] = []
        self._changed = threading.Condition()

    def post(self, event: Event) -> None:
        with self._changed:
            self.seen.append((time.monotonic(), event))
            self._changed.notify_all()

    def fail(self, name: str, error: BaseException) -> None:
        raise AssertionError(f"{name} failed") from error

    def of(self, kind: type) -> list[Event]:
        return [event for _, event in self.seen if isinstance(event, kind)]

    def await_(self, test: Callable[[Event], bool], timeout: float = 5.0) -> Event:
        """The first event, past or to come, that passes `test`."""
        with self._changed:
            found = self._changed.wait_for(lambda: next((e for _, e in self.seen if test(e)), None), timeout)
        assert found is not None, f"did not happen within {timeout} s; there were {self.seen[-5:]}"
        return found


class Loudspeaker:
    """The real playback thread, and the recording of what the card played."""

    def __init__(self, devices: Devices, recorder: Recorder) -> None:
        self.facts = Facts()
        self.ring = PlaybackRing()
        self.recorder = recorder
        self.worker = Playback(devices, self.ring, self.facts.post, self.facts.fail)
        self._handle = 0
        self.worker.start()
        self.worker.use(True)
        self.facts.await_(lambda e: isinstance(e, DeviceUp))

    def play(self, pcm: bytes, rate: int, event_id: int = 1, final: bool = True) -> float:
        """Queue a chunk; the time at which it was."""
        self._handle += 1
        assert self.ring.put(Chunk(self._handle, event_id, rate, pcm, final))
        at = time.monotonic()
        self.ring.play(self._handle)
        return at

    def flush(self) -> float:
        """Interrupt; the time at which it was."""
        at = time.monotonic()
        self.ring.flush()
        return at

    @property
    def underruns(self) -> int:
        """How often the card ran dry because this machine was busy."""
        return self.worker.underruns

    def stop(self) -> None:
        self.worker.request_stop()
        assert self.worker.join(Deadline(2.0))


class Ear:
    """The real capture thread."""

    def __init__(self, devices: Devices, period_ms: int = 20) -> None:
        self.facts = Facts()
        self.ring = CaptureRing()
        self.latch = MuteLatch()
        self.worker = Capture(devices, period_ms, self.ring, self.latch, self.facts.post, self.facts.fail)
        self.worker.start()

    def stop(self) -> None:
        self.worker.request_stop()
        assert self.worker.join(Deadline(2.0))


@pytest.fixture(scope="session")
def cards() -> Iterator[VirtualCards]:
    sys.setswitchinterval(0.001)
    with VirtualCards() as virtual:
        os.environ.update(virtual.environ)
        yield virtual


@pytest.fixture(scope="session")
def recorder(cards: VirtualCards) -> Iterator[Recorder]:
    with Recorder(cards) as recording:
        yield recording


@pytest.fixture(scope="session")
def mic_recorder(cards: VirtualCards) -> Iterator[Recorder]:
    """What really went into the microphone, and when."""
    with Recorder(cards, cards.microphone) as recording:
        yield recording


@pytest.fixture(scope="session")
def microphone(cards: VirtualCards, mic_recorder: Recorder) -> Iterator[Microphone]:
    with Microphone(cards) as feed:
        yield feed


@pytest.fixture(scope="session")
def devices(cards: VirtualCards) -> Iterator[Devices]:
    found = Devices(Audio())
    yield found
    found.terminate()


@pytest.fixture
def loudspeaker(devices: Devices, recorder: Recorder) -> Iterator[Loudspeaker]:
    speaker = Loudspeaker(devices, recorder)
    yield speaker
    speaker.stop()


@pytest.fixture
def busy() -> Iterator[None]:
    """Another process that never rests."""
    burner = subprocess.Popen((sys.executable, "-c", "while True: pass"))
    yield
    burner.kill()
    burner.wait()


@pytest.fixture
def ear(devices: Devices, microphone: Microphone) -> Iterator[Ear]:
    listening = Ear(devices)
    yield listening
    listening.stop()
