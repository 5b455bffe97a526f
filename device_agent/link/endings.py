"""From an exception to an `End`: what the link saw, in words that hold no secret."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping

import websocket

from device_agent.config.secrets import redacted
from device_agent.core.ending import End, Kind
from device_agent.errors import DeviceAgentError
from device_agent.link.conduit import TooMuch
from device_agent.link.dial import LookupFailed
from device_agent.link.signed_url import BadAnswer, Refused
from device_agent.link.waiting import Aborted, Overdue

MAX_REASON = 300
_URL = re.compile(r"\b(?:wss?|https?)://\S+")
_SECRET = re.compile(r"\b\w*(?:signature|token|api-key)[=:]\S+")
_MAX_RETRY_AFTER_S = 86_400


class Ended(Exception):
    """The connection is over for a reason that we found ourselves."""

    def __init__(self, end: End) -> None:
        super().__init__(end.kind.value)
        self.end = end


def end_of(error: BaseException) -> End | None:
    """How `error` ends the connection; None if it is a fault of this program."""
    match error:
        case Ended():
            return error.end
        case Aborted():
            return End(Kind.LOCAL)
        case Overdue():
            return End(Kind.TIMEOUT, reason=error.phase)
        case LookupFailed():
            return End(Kind.DNS, reason="the server's name could not be looked up")
        case Refused():
            return refusal(error.status, error.retry_after, error.body)
        case websocket.WebSocketBadStatusException():
            headers: Mapping[str, str] = error.resp_headers or {}
            return refusal(error.status_code, headers.get("retry-after"), error.resp_body or b"")
        case BadAnswer():
            return End(Kind.PROTOCOL, reason="the answer holds no usable signed_url")
        case TooMuch():
            return End(Kind.PROTOCOL, reason="the answer to the handshake is too long")
        case ssl.SSLCertVerificationError():
            return End(Kind.TLS, error.verify_code, clean(error.verify_message))
        case ssl.SSLZeroReturnError() | ssl.SSLEOFError() | websocket.WebSocketConnectionClosedException():
            return End(Kind.NETWORK, reason="lost without a close frame")
        case ssl.SSLError():
            return End(Kind.TLS, reason=clean(error.reason or "TLS handshake failed"))
        case websocket.WebSocketProtocolException() | websocket.WebSocketPayloadException():
            return End(Kind.PROTOCOL, 1002, clean(str(error)))
        case websocket.WebSocketException():
            return End(Kind.PROTOCOL, reason="the answer to the handshake is not what it should be")
        case DeviceAgentError():
            return End(Kind.SETUP, reason=clean(str(error)))
        case MemoryError():
            return End(Kind.NETWORK, reason="not enough memory for what came")
        case OSError():
            return End(Kind.NETWORK, error.errno or 0, os.strerror(error.errno) if error.errno else "network error")
    return None


def refusal(status: int, retry_after: str | None, body: bytes) -> End:
    """An HTTP answer other than the one we need."""
    return End(Kind.HTTP, status, clean(_detail(body)), _seconds(retry_after))


def clean(text: str) -> str:
    """One short line that a log may show: no address, no key, nothing unprintable."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_REASON]).split())
    return redacted(_SECRET.sub("(secret)", _URL.sub("(address)", line)))[:MAX_REASON]


def _detail(body: bytes) -> str:
    """The service's own words: `{"detail": {"status": …, "message": …}}` or the like."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    if isinstance(detail, Mapping):
        return ": ".join(str(detail[key]) for key in ("status", "message") if detail.get(key))
    return detail if isinstance(detail, str) else ""


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds. Its other form, a date, needs a clock that a fresh device does not have."""
    text = (retry_after or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return float(min(int(text), _MAX_RETRY_AFTER_S))
