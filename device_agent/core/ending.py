"""Every way in which a connection can end, and what it means for the next one: one pure table.

The reason text decides before the code, because the service uses one code for several meanings
(1002 is "quota used up" as well as "server trouble").
"""

from __future__ import annotations

from enum import Enum

from device_agent.records import record


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
    CONFIG = "config"  # the configuration itself is wrong


@record
class End:
    """The end of a connection. `retry_after` (s) is the server's own wish, where it gave one."""

    kind: Kind
    code: int = 0
    reason: str = ""
    retry_after: float | None = None

    @property
    def words(self) -> str:
        """One line for a person: the reason that was given, or else what it was."""
        return self.reason or f"{self.kind.value} {self.code or ''}".rstrip()


@record
class Verdict:
    """What an end means. `advice` is one line for a person, empty where none is needed."""

    group: str
    advice: str = ""
    floor_s: float = 0.0
    cap_s: float = 60.0
    fixed_s: float | None = None
    attempts: int | None = None

    @property
    def normal(self) -> bool:
        return self.group == "normal"

    @property
    def fatal(self) -> bool:
        """A person must act: configuration, account or credentials."""
        return self.group in ("config", "account")


PROBE_S = 900.0
NORMAL = Verdict("normal")
TRANSIENT = Verdict("transient")
NETWORK = Verdict("network")  # a network that comes back locally wakes the wait: the cap is for the fleet
CAPACITY = Verdict("capacity", floor_s=5.0)
QUOTA = Verdict(
    "account",
    "the account's quota is used up: look at the subscription in the ElevenLabs dashboard",
    fixed_s=PROBE_S,
)
KEY = Verdict("config", "the service refuses the key: run `device-agent setup`", fixed_s=PROBE_S)
AGENT = Verdict("config", "there is no such agent: check agent.id", fixed_s=PROBE_S)
REFUSED = Verdict("config", "the service refuses the request: check agent.id and server.url", fixed_s=PROBE_S)
MISCONFIGURED = Verdict("config", "the agent itself is misconfigured: look at it in the dashboard", fixed_s=PROBE_S)
OVERRIDE = Verdict(
    "config",
    "the agent does not allow an override: take it out of [agent] or allow it in the agent's security settings",
    attempts=3,
)
VARIABLE = Verdict("config", "the agent needs a dynamic variable: set it in [agent.dynamic_variables]", attempts=3)
POLICY = Verdict("config", "the service refuses what we sent", attempts=3)
SETUP = Verdict("config", fixed_s=PROBE_S)
CLOCK = Verdict("clock", "the clock is wrong: waiting for the time service", fixed_s=5.0)
SECURITY = Verdict(
    "security", "the server's certificate is not trusted: check server.url, server.ca_file and the network"
)

# Text that decides whatever the code. Lower case, blanks for underscores; the first one found counts.
REASONS: tuple[tuple[str, Verdict], ...] = (
    ("quota", QUOTA),
    ("invalid api key", KEY),
    ("misconfigured", MISCONFIGURED),
    ("override", OVERRIDE),
    ("dynamic variable", VARIABLE),
    ("too many concurrent", CAPACITY),
    ("max duration exceeded", NORMAL),
)
CLOSES = {1000: NORMAL, 1008: POLICY, 3000: POLICY, 3008: CAPACITY, 4300: CAPACITY}
STATUSES = {401: KEY, 403: KEY, 404: AGENT, 400: REFUSED, 422: REFUSED, 408: TRANSIENT, 429: TRANSIENT}
NOT_YET_VALID = 9


def classify(end: End, said: str = "") -> Verdict:
    """What `end` means for the next attempt. Anything unknown is transient.

    `said` is what the service wrote in an error message before; it counts where the end itself is the peer's doing.
    """
    if end.kind is Kind.LOCAL:
        return NORMAL
    if end.kind in (Kind.SETUP, Kind.CONFIG):
        return Verdict(SETUP.group, end.reason, fixed_s=SETUP.fixed_s)
    if end.kind is Kind.TLS:
        return CLOCK if end.code == NOT_YET_VALID else SECURITY
    reason = end.reason if end.kind in (Kind.CLOSE, Kind.HTTP) else ""  # the others are our own words
    words = f"{reason} {said}".lower().replace("_", " ")
    for text, verdict in REASONS:
        if text in words:
            return verdict
    if end.kind in (Kind.DNS, Kind.NETWORK, Kind.TIMEOUT):
        return NETWORK
    if end.kind is Kind.CLOSE:
        return CLOSES.get(end.code, TRANSIENT)
    if end.kind is Kind.HTTP:
        return REFUSED if 300 <= end.code < 400 else STATUSES.get(end.code, TRANSIENT)
    return TRANSIENT
