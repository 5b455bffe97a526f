"""Rows of an agent that means harm, or only talks too much: its tool calls, and its words where they do not belong."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bed import Run, Server, pause, started
from link_peer import METADATA, Peer

from device_agent.bench.virtual_audio import VirtualCards

Keep = Callable[[int, str], None]
MOST_CALLS, MOST_BYTES = 10, 4096
TOOLS = """
from pathlib import Path
from device_agent import tool

@tool
def mark(text: str) -> str:
    "Leave a line."
    with Path({marks!r}).open("a") as out:
        out.write(text + "\\n")
    return "marked"

@tool
def fail() -> str:
    "Fail."
    raise ValueError("no")

@tool
def flood() -> str:
    "Say too much."
    return "x" * 10_000_000
"""
SECRETS = {
    "key": "sk_5ecre7c4nary0123456789abcdef",
    "signature": "c4narysignature0815",
    "user": "pelican umbrella seventeen",
    "agent": "walnut cathedral forty",
    "argument": "marzipan locomotive",
    "audio": base64.b64encode(b"c4nary of sound in the morning sun").decode(),
}
WORDS = ("user", "agent")


@contextmanager
def with_tools(cards: VirtualCards, home: Path) -> Iterator[tuple[Peer, Path, Run]]:
    """A conversation with a program whose tools leave their marks in a file."""
    marks, tools = home / "marks", home / "tools.py"
    marks.write_text("")
    tools.write_text(TOOLS.format(marks=str(marks)))
    server = Server()
    with started(cards.environ, server, f"tools.files={tools}", "tools.timeout_s=5") as run:
        yield server.talk(), marks, run


def call(peer: Peer, number: str, name: str, **parameters: Any) -> None:
    event = {"tool_name": name, "tool_call_id": number, "parameters": parameters}
    peer.say({"type": "client_tool_call", "client_tool_call": event})


def answers(peer: Peer, count: int) -> dict[str, list[dict[str, Any]]]:
    """So many results, by the number of their call."""
    found: dict[str, list[dict[str, Any]]] = {}
    while count:
        said = peer.read()
        if said.get("type") == "client_tool_result":
            found.setdefault(said["tool_call_id"], []).append(said)
            count -= 1
    return found


def test_rows_60_61_and_63_calls_of_every_kind(cards: VirtualCards, figure: Keep, tmp_path: Path) -> None:
    """One that raises, one of 10 MB, unknown ones, wrong and hostile parameters, one twice: one short result each.

    What was executed, the tool's own marks tell. Sabotage: an honest call leaves its mark.
    """
    with with_tools(cards, tmp_path) as (peer, marks, _):
        for number, name, parameters in (
            ("raises", "fail", {}), ("floods", "flood", {}), ("unknown", "rm -rf /", {"a": "; rm -rf /"}),
            ("extra", "mark", {"text": "extra", "more": 1}), ("wrong", "mark", {"text": 5}),
            ("long", "mark", {"text": "x" * 100_000}), ("missing", "mark", {}),
        ):  # fmt: skip
            call(peer, number, name, **parameters)
        found = answers(peer, 7)
        assert marks.read_text() == ""
        call(peer, "honest", "mark", text="honest")
        call(peer, "honest", "mark", text="honest")
        found |= answers(peer, 1)
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            assert "tool_call_id" not in peer.read()
        assert marks.read_text() == "honest\n"
    wrong = [number for number, said in found.items() if said[0]["is_error"]]
    figure(60, "one result each, the error named, 10 MB cut to 4 kB")
    figure(61, "0 of 5 executed")
    figure(63, "1 execution, 1 result")
    assert all(len(said) == 1 for said in found.values())
    assert sorted(wrong) == ["extra", "long", "missing", "raises", "unknown", "wrong"]
    assert len(found["floods"][0]["result"].encode()) <= MOST_BYTES


def test_row_62_a_thousand_calls_at_once(cards: VirtualCards, figure: Keep, tmp_path: Path) -> None:
    """Ten are executed, all are answered, and the audio goes on. Sabotage: the ten that may be are counted as well."""
    with with_tools(cards, tmp_path) as (peer, marks, _):
        for n in range(1000):
            call(peer, f"c{n}", "mark", text=str(n))
        found = answers(peer, 1000)
        size, began = 0, time.monotonic()
        while time.monotonic() - began < 1.0:
            size += len(base64.b64decode(peer.read().get("user_audio_chunk", "")))
        executed = len(marks.read_text().splitlines())
    figure(62, f"{executed} executed, {len(found)} answered")
    assert executed == MOST_CALLS
    assert len(found) == 1000
    assert size > 0.8 * 32_000


# ------------------------------------------------------------------------------- words that stay here
def signed(server: Server) -> Peer:
    """Hand out a signed URL for the key, and take the conversation."""
    peer = server.accept()
    request = peer.read_request()
    assert SECRETS["key"] in request  # it is used, and for this
    url = (
        f"ws://127.0.0.1:{server.port}/v1/convai/conversation?agent_id=a&conversation_signature={SECRETS['signature']}"
    )
    peer.answer("200 OK", json.dumps({"signed_url": url}).encode())
    peer.sock.close()
    talk = server.accept()
    assert SECRETS["signature"] in talk.upgrade()
    talk.say(METADATA)
    return talk


def traces(cards: VirtualCards, home: Path, *settings: str) -> dict[str, list[str]]:
    """Where each secret was found after a conversation full of them: log, stacks, dump, status, news, state."""
    key, log = home / "key", home / "log"
    key.write_text(SECRETS["key"])
    key.chmod(0o600)
    server = Server()
    chosen = (f"server.api_key_file={key}", "log.level=debug", f"tools.files={home / 'tools.py'}", *settings)
    (home / "tools.py").write_text(TOOLS.format(marks=str(home / "marks")))
    with (
        log.open("w") as out,
        started(cards.environ, server, *chosen, stdout=out.fileno()) as run,
        run.control() as one,
    ):
        peer = signed(server)
        news = one.news()
        heard = [json.dumps(next(news))]
        converse(peer)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            run.process.send_signal(number)
        pause(1.0)
        with run.control() as other:
            status = json.dumps(other.ask("status"))
            other.ask("volume", level=50)
        while '"volume": 50' not in heard[-1]:
            heard.append(json.dumps(next(news)))
        peer.reset()
        run.stop()
        files = {file.name: file.read_text(errors="replace") for file in run.home.iterdir() if file.is_file()}
    places = {"log": log.read_text(), "status": status, "news": "\n".join(heard), **files}
    assert "dispatcher" in places["log"]
    assert "most recent call first" in places["errors"]
    assert [name for name in places if name.startswith("flight")], list(places)
    return {name: [place for place, text in places.items() if secret in text] for name, secret in SECRETS.items()}


def converse(peer: Peer) -> None:
    """Everything that a conversation has of words and sounds, and something that fails with them in hand."""
    peer.say({"type": "user_transcript", "user_transcription_event": {"user_transcript": SECRETS["user"]}})
    peer.say({"type": "agent_response", "agent_response_event": {"agent_response": SECRETS["agent"], "event_id": 1}})
    peer.say({"type": "audio", "audio_event": {"audio_base_64": SECRETS["audio"], "event_id": 1}})
    peer.say({"type": "audio", "audio_event": {"audio_base_64": SECRETS["audio"] + "!", "event_id": 1}})
    peer.say({"type": "new", "words": SECRETS["user"]})
    call(peer, "c1", "mark", text=SECRETS["argument"])
    call(peer, "c2", "unknown", text=SECRETS["argument"])
    answers(peer, 2)


def test_row_67_no_secret_leaves_the_program(cards: VirtualCards, figure: Keep, tmp_path: Path) -> None:
    """At level debug: key, signature, words, arguments and audio are in no log, stack, dump, status or state file."""
    found = traces(cards, tmp_path)
    figure(67, f"{sum(map(len, found.values()))} of {len(SECRETS)} canaries in log, stacks, dump, status, news, state")
    assert not any(found.values()), found


def test_row_67_finds_what_is_allowed(cards: VirtualCards, tmp_path: Path) -> None:
    """Sabotage: where somebody allows transcripts and captions, the same search finds the words, and nothing else."""
    found = traces(cards, tmp_path, "log.transcripts=true", "control.captions=true")
    assert all(found[name] for name in WORDS)
    assert not found["key"]
    assert not found["signature"]
