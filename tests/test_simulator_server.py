"""The simulator on a real loopback socket."""

from __future__ import annotations

import base64
import json
import queue
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from device_agent.errors import AudioError
from device_agent.runtime.resample import Resampler
from device_agent.simulator.faults import Fault, Refusal, When
from device_agent.simulator.hearing import RATE, dbfs
from device_agent.simulator.options import FORMATS, Options, Pace
from device_agent.simulator.recogniser import Echo, Minds, Recogniser
from device_agent.simulator.server import Simulator
from device_agent.simulator.voice import Voice, flite, tone, tones
from device_agent.simulator.wire import FromWire, rate, sample_bytes, to_wire
from device_agent.simulator.witness import Recorder, Witness

PATIENCE_S = 5.0
INITIATION = '{"type": "conversation_initiation_client_data"}'


class Bench:
    """A simulator that echoes, with its events in a queue."""

    def __init__(self, recorder: Recorder | None = None, **chosen: Any) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        options = Options(**{"first_message": "", "pace": Pace("at-once", 0)} | chosen)
        witness, keeper = Witness(self.events.put), recorder or Recorder(None, None)
        self.simulator, self._keeper = Simulator(options, witness, keeper, Minds(Echo), Voice(tones)), keeper

    def __enter__(self) -> Bench:
        self.simulator.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.simulator.stop()
        self._keeper.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.simulator.port}"

    def event(self, kind: str) -> dict[str, Any]:
        """Waits for the next event of that kind."""
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if event["kind"] == kind:
                return event

    def call(self, url: str = "", **chosen: Any) -> ClientConnection:
        address = url or f"ws://{self.host}/v1/convai/conversation?agent_id=agent_x"
        return connect(address, max_size=None, legacy=True, **chosen)  # type: ignore[no-any-return]

    def converse(self) -> ClientConnection:
        """A call that has got its metadata."""
        client = self.call()
        client.send(INITIATION)
        assert receive(client)["type"] == "conversation_initiation_metadata"
        return client


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as running:
        yield running


def receive(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(timeout=PATIENCE_S))
    return message


def chunk(pcm: bytes) -> str:
    return json.dumps({"user_audio_chunk": base64.b64encode(pcm).decode()})


def get(url: str, key: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, headers={"xi-api-key": key})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_signed_url_opens_a_private_agent() -> None:
    """The right key gets a URL that works; the wrong one gets 401 and a reason; without a URL nobody enters."""
    with Bench(require_key="secret") as bench:
        url = f"http://{bench.host}/v1/convai/conversation/get-signed-url?agent_id=agent_x"
        status, body = get(url, "wrong")
        assert (status, body["detail"]["status"]) == (401, "invalid_api_key")
        status, body = get(url, "secret")
        with bench.call(body["signed_url"]) as client:
            client.send(INITIATION)
            assert receive(client)["type"] == "conversation_initiation_metadata"
        with pytest.raises(InvalidStatus) as refused:
            bench.call()
        assert refused.value.response.status_code == 401


def test_an_upgrade_is_refused_as_told() -> None:
    """Status and Retry-After arrive; the next attempt is let in."""
    with Bench(refuse=(Refusal(429, "7"),), faulty=1) as bench:
        with pytest.raises(InvalidStatus) as refused:
            bench.call()
        assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (429, "7")
        bench.converse().close()


def test_the_subprotocol_of_browsers_is_accepted(bench: Bench) -> None:
    """`convai` when it is offered; none otherwise. Origin is a violation."""
    with bench.call(subprotocols=[Subprotocol("convai")], origin="https://x") as client:
        assert client.subprotocol == "convai"
    assert "Origin" in bench.event("violation")["what"]
    with bench.call() as client:
        assert client.subprotocol is None


def test_received_audio_is_kept_exactly(tmp_path: Path) -> None:
    """The WAV is whole while the call still runs, the raw file holds the bytes, the event their level and time."""
    pcm = bytes(range(256)) * 5
    with Bench(Recorder(tmp_path / "heard.wav", tmp_path)) as bench, bench.converse() as client:
        before = time.monotonic()
        client.send(chunk(pcm))
        event = bench.event("audio")
        assert before < event["t"] < time.monotonic()
        assert (event["samples"], event["n"], event["connection"]) == (640, 640, 1)
        with wave.open(str(tmp_path / "heard.wav")) as file:
            assert (file.getframerate(), file.readframes(9999)) == (16_000, pcm)
        assert (tmp_path / "connection-1.raw").read_bytes() == pcm


def test_orders_reach_the_newest_connection(bench: Bench) -> None:
    """An ordered tone arrives as agent audio; without a connection an order is refused."""
    bench.simulator.order({"do": "interrupt"})
    assert bench.event("order_refused")["why"] == "no such connection"
    with bench.converse() as client:
        bench.simulator.order({"do": "audio", "ms": 100, "chunk_ms": 40})
        sizes = []
        while (message := receive(client))["type"] != "audio" or not message["audio_event"]["is_final"]:
            if message["type"] == "audio":
                sizes.append(len(base64.b64decode(message["audio_event"]["audio_base_64"])))
        assert sizes == [1280, 1280, 640]


@pytest.mark.parametrize(
    ("order", "code"), [({"do": "close", "code": 1008, "reason": "no"}, 1008), ({"do": "drop"}, 1006)]
)
def test_a_connection_ends_as_ordered(bench: Bench, order: dict[str, Any], code: int) -> None:
    """With a close frame, or without one."""
    with bench.converse() as client:
        bench.simulator.order(order)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE_S)
        assert client.close_code == code
    assert bench.event("closed")["connection"] == 1


def test_a_stalled_server_reads_nothing_and_then_goes_on(bench: Bench) -> None:
    """What was sent meanwhile is heard afterwards, and nobody is blamed."""
    with bench.converse() as client:
        bench.simulator.order({"do": "stall", "seconds": 0.2})
        stalled = bench.event("stalling")["t"]
        client.send(chunk(bytes(640)))
        assert bench.event("audio")["t"] - stalled >= 0.19


def test_faults_spare_later_connections() -> None:
    """With faulty=1 the first call is dropped, the second is not."""
    with Bench(fault=(Fault("drop", When("after", 0.0)),), faulty=1) as bench:
        with bench.call() as client, pytest.raises(ConnectionClosed):
            client.send(INITIATION)
            while True:
                client.recv(timeout=PATIENCE_S)
        bench.converse().close()


@pytest.mark.skipif(not shutil.which("flite"), reason="flite speaks the questions")
@pytest.mark.parametrize(
    ("question", "tool", "said"),
    [
        ("What time is it?", "", "It is 12:05."),
        ("Please set a timer for five minutes.", "set_timer", "Your timer is set for 5 minutes."),
        ("Tell me a joke.", "", "robot"),
        ("Turn the volume to forty percent.", "set_volume", "The volume is now 40 percent."),
        ("Goodbye.", "", "Goodbye"),
        ("I would like to book a table for two.", "", "Sorry"),
    ],
)
def test_spoken_questions_are_understood(question: str, tool: str, said: str) -> None:
    """The five intents are recognised from speech in 20 ms pieces; what is none of them is not understood."""
    pytest.importorskip("pocketsphinx")
    mind = recogniser()
    turn = bytes(9600) + flite(question) + bytes(19_200)
    for end in range(640, len(turn), 640):
        mind.listen(turn[:end])
    answer = mind.answer(1, mind.finish(), turn)
    assert (answer.tool, said in answer.text) == (tool, True)


_RECOGNISERS: list[Recogniser] = []


def recogniser() -> Recogniser:
    """One for all questions: loading it is slow, and it must be good for more than one turn."""
    if not _RECOGNISERS:
        _RECOGNISERS.append(Recogniser(lambda: datetime(2026, 1, 2, 12, 5)))
    return _RECOGNISERS[0]


def test_flite_failure_is_not_silence() -> None:
    """A synthesiser that fails raises; it never returns an empty reply."""

    def broken(text: str) -> bytes:
        raise subprocess.CalledProcessError(1, "flite")

    with pytest.raises(subprocess.CalledProcessError):
        Voice(broken).speech("Hello").result()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_survives_the_wire(name: str) -> None:
    """A 440 Hz tone keeps its length and level in all seven formats, there and back."""
    try:
        Resampler(RATE, 8_000)
    except AudioError:
        pytest.skip("libspeexdsp1 converts between rates")
    sound = tone(500, 440)
    wire = to_wire(sound, name)
    assert len(wire) == rate(name) // 2 * sample_bytes(name)
    ear = FromWire(name)
    back = b"".join(ear.decode(wire[at : at + 882]) for at in range(0, len(wire), 882))
    assert len(back) == pytest.approx(len(sound), abs=2 * RATE // 250)
    assert dbfs(back) == pytest.approx(dbfs(sound), abs=0.3)


class Process:
    """The command as a process of its own."""

    def __init__(self, *words: str) -> None:
        self.running = subprocess.Popen(
            [sys.executable, "-m", "device_agent", "bench", "simulate", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def line(self) -> str:
        assert self.running.stdout is not None
        return self.running.stdout.readline()


def test_the_command_says_where_it_listens_takes_orders_and_ends_at_once(tmp_path: Path) -> None:
    """One process from the first line to SIGTERM: `listening`, events, an order, exit code 0."""
    script = tmp_path / "script.json"
    script.write_text('[{"text": "Hi."}]')
    process = Process("--script", str(script), "--events", "-", "--control", "--first-message", "")
    url = process.line().split()[-1]
    assert [json.loads(process.line())["kind"] for _ in range(2)] == ["listening", "substitute"]
    with connect(f"{url}/v1/convai/conversation?agent_id=x", legacy=True) as client:
        client.send(INITIATION)
        receive(client)
        assert process.running.stdin is not None
        process.running.stdin.write('{"do": "say", "text": "Hi."}\n')
        process.running.stdin.flush()
        assert receive(client)["agent_response_event"]["agent_response"] == "Hi."
        before = time.monotonic()
        process.running.terminate()
        _, errors = process.running.communicate(timeout=PATIENCE_S)
    assert (process.running.returncode, time.monotonic() - before < 0.5) == (0, True)
    assert "no recogniser" in errors


def test_a_port_that_is_taken_is_one_line(bench: Bench, tmp_path: Path) -> None:
    """No traceback: the port, the reason, exit code 64."""
    script = tmp_path / "script.json"
    script.write_text('[{"text": "Hi."}]')
    process = Process("--script", str(script), "--port", str(bench.simulator.port))
    _, errors = process.running.communicate(timeout=PATIENCE_S)
    assert process.running.returncode == 64
    assert errors.splitlines()[-1].startswith(f"device-agent: port {bench.simulator.port}: ")
