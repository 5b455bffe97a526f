"""The agent: the right to talk with it, and one opened and closed conversation without a sound."""

from __future__ import annotations

import select
from contextlib import AbstractContextManager

from device_agent.core.ending import KEY, POLICY, End, Kind, classify
from device_agent.core.initiation import initiation
from device_agent.doctor.check import Finding, failed, ok, skipped
from device_agent.doctor.host import Case
from device_agent.doctor.service import ELSEWHERE, key_elsewhere
from device_agent.link.address import conversation_url
from device_agent.link.dial import Dialer
from device_agent.link.endings import Ended, end_of
from device_agent.link.once import one_attempt
from device_agent.link.waiting import Attempt, Overdue
from device_agent.link.wire import Close, Skip, Wire
from device_agent.protocol.codec import decode, encode
from device_agent.protocol.formats import parse
from device_agent.protocol.messages import Metadata
from device_agent.system.identity import identified

PATIENCE_S = 10.0


def right(case: Case) -> Finding:
    """Whether the service lets this device talk with the agent: a signed URL, where one is needed."""
    try:
        with _attempt(case) as (dialer, attempt):
            case.url = conversation_url(case.settings, case.secrets, dialer, attempt)
    except Exception as error:
        return _refused(error)
    public = case.url.query.startswith("agent_id")
    return ok("public: no signed URL needed" if public else "a signed URL was given")


def conversation(case: Case) -> Finding:
    """Whether the agent takes what we send at the start, overrides and all."""
    try:
        with _attempt(case) as (dialer, attempt):
            wire = Wire(dialer.dial(case.url, attempt))
            try:
                case.formats = _open(case, wire, attempt)
            finally:
                wire.conduit.abandon()
    except Exception as error:
        end = end_of(error)
        if end is not None and classify(end) in (KEY, POLICY) and key_elsewhere(case):
            return skipped(ELSEWHERE)
        return _refused(error)
    return ok("a conversation was opened, and closed before a word")


def formats(case: Case) -> Finding:
    """Whether we know the agent's audio formats."""
    for name in case.formats:
        try:
            parse(name)
        except ValueError:
            return failed(f"the agent uses {name!r}", "choose PCM or µ-law in the agent's settings")
    output, heard = case.formats
    return ok(f"speaks {output}, hears {heard}")


def _open(case: Case, wire: Wire, attempt: Attempt) -> tuple[str, str]:
    attempt.phase = "upgrade"
    wire.open(case.url, case.settings.server.origin)
    attempt.phase = "metadata"
    wire.text(encode(initiation(identified(case.settings.agent))))
    wire.flush()
    while True:
        for item in wire.receive():
            if isinstance(item, Close):
                raise Ended(End(Kind.CLOSE, item.code, item.reason))
            message = None if isinstance(item, Skip) else decode(item.data)
            if isinstance(message, Metadata):
                wire.close(1000)
                wire.flush()
                return message.agent_output_audio_format, message.user_input_audio_format
        attempt.wait({wire.conduit.fileno(): select.POLLIN})


def _refused(error: Exception) -> Finding:
    end = end_of(error)
    if end is None:
        raise error
    seen = f"{end.kind.value} {end.code or ''} {end.reason}".strip()
    if isinstance(error, Overdue):
        seen = f"no answer within {PATIENCE_S:.0f} s ({error.phase})"
    return failed(" ".join(seen.split()), classify(end).advice or "try again in a minute: the device does so by itself")


def _attempt(case: Case) -> AbstractContextManager[tuple[Dialer, Attempt]]:
    return one_attempt(case.settings.server.ca_file, PATIENCE_S, case.host.resolve)
