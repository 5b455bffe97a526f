"""The official Python SDK as a program: one conversation over the default sound cards.

Runs in the SDK's own virtual environment: ``python sdk_client.py http://127.0.0.1:PORT``. What the SDK calls back is
printed as JSON lines with the monotonic time. SIGTERM ends the session the way the SDK's documentation does on SIGINT.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import Conversation
from elevenlabs.conversational_ai.default_audio_interface import DefaultAudioInterface


def report(kind: str, **facts: Any) -> None:
    print(json.dumps({"t": time.monotonic(), "kind": kind} | facts), flush=True)


def main(url: str) -> None:
    conversation = Conversation(
        ElevenLabs(base_url=url),
        "bench",
        requires_auth=False,
        audio_interface=DefaultAudioInterface(),
        callback_agent_response=lambda text: report("agent_response", text=text),
        callback_agent_response_correction=lambda old, new: report("correction", original=old, corrected=new),
        callback_user_transcript=lambda text: report("user_transcript", text=text),
        callback_latency_measurement=lambda ms: report("latency", ms=ms),
        callback_disconnect=lambda details: report("disconnect", details=str(details)),
    )
    signal.signal(signal.SIGTERM, lambda *_: conversation.end_session())
    conversation.start_session()
    report("ended", conversation_id=conversation.wait_for_session_end())


if __name__ == "__main__":
    main(sys.argv[1])
