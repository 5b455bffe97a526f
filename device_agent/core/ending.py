"""Every way in which a connection can end, and what it means for the next one: one pure table.

The reason text decides before the code, because the service uses one code for several meanings
(1002 is "quota used up" as well as "server trouble").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a connection ended, as the link saw it."""

    CLOSE = "close"  # a close frame came; `code` and `reason` are its own
    HTTP = "http"  # the upgrade or the signed URL was refused; `code` is the status
    TLS = "tls"  # the certificate was refused; `code` is OpenSSL's verify code
    DNS = "dns"  # the name could not be resolved in time
    NETWORK = "network"  # refused, reset, no route, lost without a close frame
    TIMEOUT = "timeout"  # one of our own deadlines; `reason` names it
    PROTOCOL = "protocol"  # the peer broke RFC 6455, or sent what we had to refuse; `code` is what we closed with
    LOCAL = "local"  # we closed it ourselves, as ordered
    SETUP = "setup"  # it cannot even be tried: no agent id, no key


@dataclass(frozen=True, slots=True)
class End:
    """The end of a connection. `retry_after` (s) is the server's own wish, where it gave one."""

    kind: Kind
    code: int = 0
    reason: str = ""
    retry_after: float | None = None
