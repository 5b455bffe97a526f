"""The simulated conversation, without a socket: what comes in, what goes out, and what is noted."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from device_agent.errors import UsageError
from device_agent.simulator import intents, orders
from device_agent.simulator.conversation import Conversation
from device_agent.simulator.downlink import Close, Downlink, Drop, Send, Stall
from device_agent.simulator.faults import MALFORMED, Fault, When
from device_agent.simulator.hearing import RATE
from device_agent.simulator.intents import Answer
from device_agent.simulator.options import Options, Pace
from device_agent.simulator.recogniser import Deaf, Echo, Minds, Script
from device_agent.simulator.voice import Voice
from device_agent.simulator.witness import Recorder, Witness

SPEECH, SILENCE = b"\x00\x20", b"\x00\x00"


class Dictation(Deaf):
    """Understands whatever it is told to."""

    def __init__(self, transcript: str) -> None:
        self.transcript = transcript

    def partial(self) -> str:
        return self.transcript[:-1]

    def finish(self) -> str:
        return self.transcript

    def answer(self, number: int, transcript: str, turn: bytes) -> Answer:
        return intents.answer(transcript, datetime(2026, 1, 2, 12, 5))


class SteadyVoice(Voice):
    """Speaks 50 ms per character, at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def speech(self, text: str) -> Future[bytes]:
        self.asked.append(text)
        sound: Future[bytes] = Future()
        sound.set_result(bytes(RATE * 50 // 1000 * 2 * len(text)))
        return sound


class Call:
    """A client, a clock and a witness around one `Conversation`."""

    def __init__(self, transcript: str = "", mind: Deaf | None = None, faults: tuple[Fault, ...] = (), **chosen: Any):
        settings = {"first_message": "", "pace": Pace("at-once", 0), "vad_score_ms": 0} | chosen
        self.now = 100.0
        self.noted: list[dict[str, Any]] = []
        self.voice = SteadyVoice()
        self.conversation = Conversation(
            1, Options(**settings), faults, mind or Dictation(transcript), self.voice, any,
            Witness(self.noted.append), Recorder(None, None), self.now,
        )  # fmt: skip

    def step(self, seconds: float = 0.0) -> list[Any]:
        """Lets time pass and returns what comes out: messages as objects, other actions as they are."""
        self.now += seconds
        self.conversation.tick(self.now)
        out = []
        for action in self.conversation.take(self.now):
            self.conversation.performing(action, self.now)
            is_json = isinstance(action, Send) and action.facts["type"] != "malformed"
            out.append(json.loads(action.payload) if is_json else action)
        return out

    def say(self, **body: Any) -> list[Any]:
        self.conversation.receive(json.dumps(body), self.now)
        return self.step()

    def speak(self, speech_ms: int, silence_ms: int = 0) -> list[Any]:
        """Streams in real time, in chunks of 20 ms."""
        out = []
        for sample in [SPEECH] * (speech_ms // 20) + [SILENCE] * (silence_ms // 20):
            self.conversation.receive(
                json.dumps({"user_audio_chunk": base64.b64encode(sample * 320).decode()}), self.now
            )
            out += self.step(0.02)
        return out

    def start(self) -> list[Any]:
        return self.say(type="conversation_initiation_client_data")

    def facts(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.noted if event["kind"] == kind]

    @property
    def violations(self) -> list[str]:
        return [event["what"] for event in self.facts("violation")]


def types(out: list[Any]) -> list[Any]:
    return [item["type"] if isinstance(item, dict) else item for item in out]


def test_metadata_comes_first_and_names_the_formats() -> None:
    """The client's first message is answered with what was negotiated."""
    (metadata,) = Call(output_format="ulaw_8000").start()
    event = metadata["conversation_initiation_metadata_event"]
    assert (event["agent_output_audio_format"], event["user_input_audio_format"]) == ("ulaw_8000", "pcm_16000")


def test_the_first_message_is_spoken() -> None:
    """agent_response, then audio events with one id and an alignment, then an empty final one."""
    call = Call(first_message="Hello.", chunk_ms=(100, 100))
    out = call.start()
    assert types(out) == ["conversation_initiation_metadata", "agent_response", "audio", "audio", "audio", "audio"]
    events = [item["audio_event"] for item in out[2:]]
    assert {event["event_id"] for event in events} == {1}
    assert "".join(c for event in events[:-1] for c in event["alignment"]["chars"]) == "Hello."
    assert [event["is_final"] for event in events] == [False, False, False, True]


def test_a_silent_client_is_sent_away() -> None:
    """Without initiation the server waits 5 s."""
    call = Call()
    assert (call.step(5.0), call.step(0.1)) == ([], [Close(1008, "Missing conversation_initiation_client_data")])


def test_a_forbidden_override_closes_the_call() -> None:
    """The reason is ElevenLabs' own."""
    override = {"agent": {"prompt": {"prompt": "Be rude"}}}
    out = Call().say(type="conversation_initiation_client_data", conversation_config_override=override)
    assert out == [Close(1008, "Override for field 'prompt' is not allowed by config.")]


def test_a_second_initiation_is_a_violation() -> None:
    """It changes nothing."""
    call = Call()
    call.start()
    assert (call.start(), len(call.violations)) == ([], 1)


def test_a_turn_is_answered() -> None:
    """Tentative words at the pause, the transcript at the end, then the answer, under growing ids."""
    call = Call("what time is it")
    call.start()
    out = call.speak(400, 600)
    expected = ["tentative_user_transcript", "internal_tentative_agent_response", "user_transcript", "agent_response"]
    assert types(out)[:4] == expected
    assert out[2]["user_transcription_event"] == {"user_transcript": "what time is it", "event_id": 1}
    assert out[3]["agent_response_event"] == {"agent_response": "It is 12:05.", "event_id": 2}
    assert call.violations == []


def test_a_pause_in_the_stream_ends_no_turn() -> None:
    """Only received silence counts, however long nothing comes."""
    call = Call("what time is it")
    call.start()
    assert "user_transcript" not in types([*call.speak(400, 300), *call.step(60.0), *call.speak(0, 280)])
    assert "user_transcript" in types(call.speak(0, 20))


def test_speech_over_the_reply_interrupts_it() -> None:
    """After 200 ms of speech: an id between the replies, the words that were spoken, and no more audio."""
    call = Call(first_message="one two three four five six", pace=Pace("realtime", 1), chunk_ms=(100, 100))
    call.start()
    out = call.speak(180)
    assert "interruption" not in types(out)
    out = call.speak(20)
    interruption, correction = out[-2:]
    assert interruption["interruption_event"] == {"event_id": 2}
    body = correction["agent_response_correction_event"]
    assert (body["event_id"], body["corrected_agent_response"]) == (1, "")
    assert call.facts("interrupted")[0]["unsent"] > 5
    assert "audio" not in types(call.step(10.0))


def test_speech_after_the_reply_interrupts_nothing() -> None:
    """A reply sounds for as long as its audio lasts, from its first event."""
    call = Call(first_message="one two")
    call.start()
    call.step(0.36)
    assert "interruption" not in types(call.speak(400))


def test_a_tool_is_called_and_its_result_spoken() -> None:
    """The answer waits for the client's result."""
    call = Call("set a timer for two minutes")
    call.start()
    tool = call.speak(400, 600)[-1]["client_tool_call"]
    assert (tool["tool_name"], tool["parameters"], tool["expects_response"]) == ("set_timer", {"seconds": 120}, True)
    result = {"type": "client_tool_result", "tool_call_id": tool["tool_call_id"], "result": "ok", "is_error": False}
    assert call.say(**result)[0]["agent_response_event"]["agent_response"] == "Your timer is set for 2 minutes."
    call.say(**result)
    call.say(**result | {"tool_call_id": "other"})
    assert len(call.violations) == 2


@pytest.mark.parametrize("fails", [True, False])
def test_a_tool_that_fails_or_never_answers(fails: bool) -> None:
    """The agent says that it did not work; without an answer, after 20 s."""
    call = Call("set a timer for two minutes")
    call.start()
    tool = call.speak(400, 600)[-1]["client_tool_call"]
    body = {"type": "client_tool_result", "tool_call_id": tool["tool_call_id"], "result": "no", "is_error": True}
    out = call.say(**body) if fails else call.step(20.1)
    assert intents.TOOL_FAILED in json.dumps(out)


def test_goodbye_ends_the_call() -> None:
    """Farewell, end_call, and a normal close behind the last audio."""
    call = Call("goodbye")
    call.start()
    out = call.speak(400, 600)
    assert types(out)[-2:] == ["agent_tool_response", Close(1000, "")]
    assert out[-2]["agent_tool_response"]["tool_name"] == "end_call"
    assert out[-3]["audio_event"]["is_final"]
    assert call.step(9.0) == []


@pytest.mark.parametrize("text", ["Tell me a joke!", {"type": "user_message", "text": "tell me a joke"}])
def test_a_typed_message_interrupts_under_its_own_reply_id(text: Any) -> None:
    """As the real service does: the interruption and the new audio carry the same id."""
    call = Call()
    call.start()
    kind = "user_message" if isinstance(text, str) else "multimodal_message"
    interruption, response, audio, *_ = call.say(type=kind, text=text)
    assert response["agent_response_event"]["agent_response"] == intents.JOKE
    ids = interruption["interruption_event"], response["agent_response_event"], audio["audio_event"]
    assert {event["event_id"] for event in ids} == {1}


def test_pings_are_sent_and_measured() -> None:
    """The estimate of the next ping comes from the pong before it."""
    call = Call()
    call.start()
    assert call.step(2.0)[0]["ping_event"] == {"event_id": 1, "ping_ms": None}
    call.now += 0.046
    call.say(type="pong", event_id=1)
    assert call.facts("pong")[0]["ms"] == pytest.approx(46)
    assert call.step(2.0)[0]["ping_event"] == {"event_id": 2, "ping_ms": 46}
    call.say(type="pong", event_id=7)
    call.step(5.1)
    assert len(call.violations) == 2


def test_while_queued_audio_is_thrown_away() -> None:
    """waiting, then admitted and the metadata; what was said before is a violation."""
    call = Call(queue_seconds=3.0)
    assert [item["queue_status_event"]["status"] for item in call.start()] == ["waiting"]
    call.speak(20)
    assert len(call.violations) == 1
    assert call.facts("audio")[0]["discarded"]
    assert types(call.step(3.0)) == ["queue_status", "conversation_initiation_metadata"]


def test_the_queue_may_follow_the_metadata() -> None:
    """Which of the two orders the service uses is not known."""
    call = Call(queue_seconds=3.0, queue_after_metadata=True)
    assert types(call.start()) == ["conversation_initiation_metadata", "queue_status"]
    assert types(call.step(3.0)) == ["queue_status"]


def test_the_queue_gives_up() -> None:
    """timed_out, then 3008."""
    call = Call(queue_timeout=3.0)
    call.start()
    status, close = call.step(3.0)
    assert status["queue_status_event"] == {"status": "timed_out"}
    assert close == Close(3008, "too many concurrent connections")


def test_audio_far_ahead_of_real_time_is_a_violation() -> None:
    """Bursts are fine; more than 10 s ahead is reported once."""
    call = Call()
    call.start()
    second = json.dumps({"user_audio_chunk": base64.b64encode(bytes(32_000)).decode()})
    for _ in range(12):
        call.conversation.receive(second, call.now)
    assert len(call.violations) == 1


def test_scores_follow_received_audio() -> None:
    """vad_score every 500 ms of audio, with the probability of the turn's end within a turn."""
    call = Call(vad_score_ms=500)
    call.start()
    assert types(call.speak(500)) == ["vad_score", "internal_turn_probability"]
    assert types(Call(without=("vad_score",), vad_score_ms=500).speak(500)) == []


def test_complete_is_opt_in_and_comes_after_the_sound() -> None:
    """agent_response_complete waits until the reply has sounded."""
    call = Call(first_message="one two", without=())
    call.start()
    assert (types(call.step(0.3)), types(call.step(0.1))) == ([], ["agent_response_complete"])


def test_one_malformed_message_before_each_reply() -> None:
    """They come in the order of the list, again and again."""
    call = Call(first_message="Hello.", malformed=("null", "binary-frame"))
    sent = [call.start(), call.say(type="user_message", text="x"), call.say(type="user_message", text="x")]
    found = [action.payload for out in sent for action in out if isinstance(action, Send)]
    assert found == [MALFORMED["null"], MALFORMED["binary-frame"], MALFORMED["null"]]


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        (Fault("close", When("after", 1.0), 1011, "boom"), Close(1011, "boom")),
        (Fault("drop", When("after", 1.0)), Drop()),
        (Fault("stall", When("after", 1.0), seconds=8), Stall(8)),
    ],
)
def test_faults_strike(fault: Fault, action: object) -> None:
    """At their time, and with a note."""
    call = Call(faults=(fault,))
    call.start()
    assert (call.step(0.9), call.step(0.2)) == ([], [action])
    assert call.facts("fault")[0]["action"] == fault.action


def test_the_link_dies_in_the_middle_of_a_reply() -> None:
    """Half of the events have gone out."""
    call = Call(first_message="Hello.", chunk_ms=(50, 50), faults=(Fault("stall", When("reply", 1)),))
    out = types(call.start())
    assert out[2:].index(Stall(float("inf"))) == 3
    call.conversation.resumed(call.now)


def test_latency_delays_and_jitter_keeps_the_order() -> None:
    """Everything sent is late by latency plus up to the jitter."""
    line = Downlink(100.0, 50.0, random.Random(1))
    for n in range(50):
        line.put(Close(n, ""), n / 1000)
    assert list(line.take(0.099)) == []
    assert 0.1 <= line.next_due <= 0.15
    assert [action.code for action in line.take(9.0) if isinstance(action, Close)] == list(range(50))


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        ({"do": "say", "text": "Hi"}, "agent_response"),
        ({"do": "audio", "ms": 100, "hz": 440, "chunk_ms": 50}, "agent_response"),
        ({"do": "interrupt"}, "interruption"),
        ({"do": "tool", "name": "lamp", "parameters": {"on": True}}, "client_tool_call"),
        ({"do": "raw", "text": '{"type": "mine"}'}, "mine"),
        ({"do": "close", "code": 1002, "reason": "quota"}, Close(1002, "quota")),
        ({"do": "drop"}, Drop()),
        ({"do": "stall", "seconds": 2}, Stall(2)),
    ],
)
def test_orders(order: dict[str, Any], kind: object) -> None:
    """The control channel makes the server do one exact thing."""
    call = Call()
    call.start()
    call.conversation.order(order, call.now)
    assert types(call.step())[0] == kind


@pytest.mark.parametrize("order", [{}, {"do": "dance"}, {"do": "say"}, {"do": "audio", "ms": "long"}])
def test_a_wrong_order_is_refused(order: dict[str, Any]) -> None:
    """It is noted and changes nothing."""
    call = Call()
    call.conversation.order(order, call.now)
    assert len(call.facts("order_refused")) == 1


def test_lines_of_the_control_channel() -> None:
    """Objects are passed on; the rest is refused with a reason."""
    passed: list[Any] = []
    refused: list[str] = []
    refuse: Callable[[str, str], None] = lambda text, why: refused.append(text)  # noqa: E731
    orders.read(['{"do": "drop"}', "[]", "{"], passed.append, refuse)
    assert (passed, refused) == ([{"do": "drop"}], ["[]", "{"])


def test_the_echo_call_plays_back_what_it_heard() -> None:
    """The very samples, and an honest word about them."""
    call = Call(mind=Echo())
    call.start()
    out = call.speak(400, 600)
    response = next(item for item in out if item["type"] == "agent_response")["agent_response_event"]
    assert response["agent_response"] == "I heard 1.0 s at -16.0 dBFS, peak 25 %, not clipped."
    played = b"".join(base64.b64decode(i["audio_event"]["audio_base_64"]) for i in out if i["type"] == "audio")
    assert played == SPEECH * 6400 + SILENCE * 9600


def test_a_script_answers_in_order(tmp_path: Path) -> None:
    """The last answer is given again and again."""
    path = tmp_path / "script.json"
    path.write_text('[{"text": "One."}, {"text": "Two.", "tool": "lamp"}]')
    script = Script.load(path)
    assert [script.answer(n, "", b"").text for n in (1, 2, 3)] == ["One.", "Two.", "Two."]
    assert Script.fallback().answer(5, "", b"").ends


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"say": "x"}]'])
def test_a_script_that_is_none(tmp_path: Path, text: str) -> None:
    """The error names the file."""
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"script\.json"):
        Script.load(path)


def test_minds_are_lent_and_taken_back() -> None:
    """A new one is made only when all are taken."""
    minds = Minds(Echo)
    first, second = minds.take(), minds.take()
    minds.give(first)
    assert (minds.take() is first, second is first) == (True, False)
