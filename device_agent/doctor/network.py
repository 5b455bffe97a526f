"""The way to the service, step by step: cable, route, name, TCP, TLS, HTTP."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import SplitResult, urlsplit

from device_agent.config.endpoints import https_url, is_loopback
from device_agent.doctor.check import Finding, failed, ok, warning
from device_agent.doctor.host import Case
from device_agent.errors import ConfigError
from device_agent.link.conduit import Conduit
from device_agent.link.dial import LOOKUP_S, Address
from device_agent.link.once import one_attempt
from device_agent.link.signed_url import request
from device_agent.link.waiting import Aborted, Overdue

PATIENCE_S = 6.0
SLOW_MS = 300
EXPIRED, NOT_YET_VALID, WRONG_HOST = 10, 9, 62
REMEDIES = {
    EXPIRED: "the server's certificate has expired, or this clock runs ahead: see `date`",
    NOT_YET_VALID: "the clock of this device is behind: timedatectl set-ntp true",
    WRONG_HOST: "another host answers: check server.url, and that no portal or filter stands in between",
}
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def server(case: Case) -> SplitResult:
    """The broker, where there is one, else the service."""
    return urlsplit(case.settings.server.broker_url or https_url(case.settings))


def here(case: Case) -> bool:
    """Whether the service runs on this very machine."""
    return is_loopback(server(case))


def link(case: Case) -> Finding:
    """Whether any interface has a carrier."""
    if here(case):
        return ok("not needed: the service is on this machine")
    folder = case.host.place("sys/class/net")
    names = sorted(path.name for path in folder.iterdir() if path.name != "lo") if folder.is_dir() else []
    up = [name for name in names if case.host.text(f"sys/class/net/{name}/operstate") in ("up", "unknown")]
    if not names:
        return failed("there is no network interface", "plug in an Ethernet or Wi-Fi adapter")
    if not up:
        return failed(f"{', '.join(names)}: no carrier", "plug in the cable, or join a Wi-Fi: sudo nmtui")
    return ok(f"{', '.join(up)} up")


def route(case: Case) -> Finding:
    """Whether anything leads beyond the local network."""
    if here(case):
        return ok("not needed: the service is on this machine")
    fours = [line.split() for line in case.host.text("proc/net/route").splitlines()[1:]]
    sixes = [line.split() for line in case.host.text("proc/net/ipv6_route").splitlines()]
    four = [line[0] for line in fours if len(line) > 7 and line[1] == line[7] == "00000000"]
    six = [line[-1] for line in sixes if len(line) > 9 and line[1] == "00" and line[-1] != "lo"]
    if not (four or six):
        return failed("no default route", "the network gives no address: is DHCP on? ip addr; ip route")
    return ok(", ".join([f"IPv4 by {name}" for name in four] + [f"IPv6 by {name}" for name in six]))


def proxy(case: Case) -> Finding:
    """A proxy in the environment, which the device does not use."""
    names = [name for name in PROXIES if case.host.environ.get(name)]
    if names and not here(case):
        return warning(
            f"{', '.join(names)} is set: the device connects directly all the same",
            "if the network lets only a proxy out, set server.url to an address that it forwards",
        )
    return ok("none")


def name(case: Case) -> Finding:
    """Whether the server's name has an address."""
    host, port = _place(case)
    found: list[Sequence[Address]] = []
    problem: list[str] = []

    def look_up() -> None:
        try:
            found.append(case.host.resolve(host, port))
        except (OSError, UnicodeError) as error:
            problem.append(str(error))

    thread = threading.Thread(target=look_up, name="resolver", daemon=True)
    thread.start()
    thread.join(LOOKUP_S)
    if not found or not found[0]:
        why = problem[0] if problem else "nothing" if found else f"no answer within {LOOKUP_S:.0f} s"
        return failed(f"{host}: {why}", "check the name server (resolvectl status) and server.url")
    case.addresses = found[0]
    return ok(f"{host} is {', '.join(dict.fromkeys(address for _, address, _ in found[0]))}")


def tcp(case: Case) -> Finding:
    """Whether one of its addresses answers, of each family."""
    _, port = _place(case)
    answers: list[str] = []
    failures: list[str] = []
    for family, label in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
        address = next((one for one in case.addresses if one[0] == family), None)
        if address is None:
            continue
        started = time.monotonic()
        try:
            socket.create_connection((address[1], port), timeout=PATIENCE_S).close()
            answers.append(f"{label} in {(time.monotonic() - started) * 1000:.0f} ms")
        except OSError as error:
            failures.append(f"{label} {address[1]} port {port}: {error.strerror or error}")
    if not answers:
        return failed("; ".join(failures), f"a firewall, or no such server: allow outgoing TCP port {port}")
    slow = min(int(answer.split()[-2]) for answer in answers) > SLOW_MS
    if slow:
        return warning(
            "; ".join(answers), "the way is slow: prefer a cable, and the region nearest to you (server.region)"
        )
    dead = [failure for failure in failures if "unreachable" not in failure]
    return ok("; ".join([*answers, *dead]))


def tls(case: Case) -> Finding:
    """Whether the certificate is the right one."""
    if server(case).scheme == "http":
        return ok("not needed: plain, on this machine")
    try:
        with _connection(case):
            ours = case.settings.server.ca_file
            return ok(f"trusted{ours and f' (with {ours})'}")
    except ConfigError as error:
        return failed(str(error), "name a PEM file that this user can read")
    except ssl.SSLCertVerificationError as error:
        remedy = REMEDIES.get(
            error.verify_code, "an authority of your own? set server.ca_file; else leave this network"
        )
        return failed(f"certificate refused: {error.verify_message}", remedy)
    except (ssl.SSLError, OSError, Overdue) as error:
        return failed(f"no TLS: {_words(error)}", "something in between breaks TLS: try another network")


def http(case: Case) -> Finding:
    """Whether the service itself answers, and not a portal."""
    try:
        with _connection(case) as conduit:
            status, kind, location = _ask(case, conduit)
    except (HTTPException, OSError, Overdue) as error:
        return failed(f"no HTTP: {_words(error)}", "another program answers there: check server.url")
    if location or (status == 200 and "html" in kind):
        where = urlsplit(location).hostname or "a page of its own"
        return failed(
            f"a captive portal answers (status {status}, {where})", "log in to this network with a browser first"
        )
    if status >= 500:
        return failed(f"the service answers with status {status}", "wait: the device keeps trying by itself")
    return ok(f"answers (status {status})")


@contextmanager
def _connection(case: Case) -> Iterator[Conduit]:
    """The product's own dialling, for a moment."""
    with one_attempt(case.settings.server.ca_file, PATIENCE_S, lambda *_: case.addresses) as (dialer, attempt):
        conduit = dialer.dial(server(case), attempt)
        try:
            yield conduit
        finally:
            conduit.close()


def _ask(case: Case, conduit: Conduit) -> tuple[int, str, str]:
    """Status, content type and Location of the answer to a request that a real service refuses."""
    url = server(case)
    response = request(url if url.path else url._replace(path="/v1/convai/conversation"), {}, conduit)
    return response.status, response.getheader("Content-Type") or "", response.getheader("Location") or ""


def _place(case: Case) -> tuple[str, int]:
    url = server(case)
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _words(error: BaseException) -> str:
    if isinstance(error, Overdue | Aborted):
        return f"no answer within {PATIENCE_S:.0f} s"
    return getattr(error, "reason", "") or getattr(error, "strerror", "") or type(error).__name__
