"""One HTTPS request for a signed URL, over our own socket: same TLS context, same deadline, same abort."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from device_agent.config.endpoints import address_problem
from device_agent.link.conduit import Conduit
from device_agent.link.dial import Dialer
from device_agent.link.waiting import Attempt
from device_agent.version import __version__

if TYPE_CHECKING:
    from http.client import HTTPResponse

MAX_BODY = 64 * 1024
USER_AGENT = f"device-agent/{__version__}"


class Refused(Exception):
    """An HTTP answer that is not the one we need. Holds what classifies it, and never a header of ours."""

    def __init__(self, status: int, retry_after: str | None, body: bytes) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.retry_after = retry_after
        self.body = body


class BadAnswer(Exception):
    """No HTTP, or status 200 and no usable signed URL: for example the page of a captive portal."""


def fetch(url: SplitResult, header: tuple[str, str], dialer: Dialer, attempt: Attempt) -> SplitResult:
    """Ask `url` for a signed URL, with a secret `header`. The result is a secret too: never print it.

    Raises `Refused`, `BadAnswer`, or what `Dialer.dial` does. Follows no redirect.
    """
    from http.client import HTTPException  # 12 ms, which a device without a key need not wait for

    conduit = dialer.dial(url, attempt)
    attempt.phase = "signed-url"
    try:
        return _signed_url(_get(url, header, conduit))
    except HTTPException:
        raise BadAnswer from None
    finally:
        conduit.close()


def _get(url: SplitResult, header: tuple[str, str], conduit: Conduit) -> bytes:
    response = request(url, {"Accept": "application/json", **dict([header])}, conduit)
    body: bytes = response.read(MAX_BODY)
    if response.status != 200:
        raise Refused(response.status, response.getheader("Retry-After"), body)
    return body


def request(url: SplitResult, headers: Mapping[str, str], conduit: Conduit) -> HTTPResponse:
    """GET `url` over a conduit to its host; the answer, whose headers have been read.

    Raises `HTTPException`, or what the conduit does.
    """
    from http.client import HTTPConnection, HTTPResponse

    connection = HTTPConnection(url.hostname or "", url.port)
    connection.sock = conduit
    own = {"Host": url.netloc, "User-Agent": USER_AGENT, "Connection": "close"}
    place = url._replace(scheme="", netloc="", fragment="").geturl() or "/"
    connection.request("GET", place, headers={**own, **headers})
    # Not `getresponse`: with "Connection: close" it closes the conduit as soon as the headers are read.
    response = HTTPResponse(conduit, method="GET")  # type: ignore[arg-type]  # it only wants makefile()
    response.begin()
    return response


def _signed_url(body: bytes) -> SplitResult:
    """The answer's `signed_url`, used verbatim: its own host decides."""
    try:
        text: str = json.loads(body)["signed_url"]
        if address_problem(text, ("wss",), ("ws",), base=False) is None:
            return urlsplit(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadAnswer from None  # the original error quotes the body
    raise BadAnswer
