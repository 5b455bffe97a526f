"""Which hosts the device talks with."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from device_agent.config.schema import Settings

HOSTS = {
    "global": "api.elevenlabs.io",
    "us": "api.us.elevenlabs.io",
    "eu": "api.eu.residency.elevenlabs.io",
    "in": "api.in.residency.elevenlabs.io",
    "sg": "api.sg.residency.elevenlabs.io",
}
_HTTP = {"wss": "https", "ws": "http"}
_WEBSOCKET = {"https": "wss", "http": "ws"}


def server_url(settings: Settings) -> str:
    """Base address of the conversation's WebSocket, without a path: `wss://host[:port]`."""
    if not settings.server.url:
        return f"wss://{HOSTS[settings.server.region]}"
    url = urlsplit(settings.server.url)
    return f"{_WEBSOCKET.get(url.scheme, url.scheme)}://{url.netloc}"


def https_url(settings: Settings) -> str:
    """Base address of the REST calls, without a path: the same host, by https (http where the WebSocket is plain)."""
    scheme, rest = server_url(settings).split("://")
    return f"{_HTTP[scheme]}://{rest}"


def address_problem(url: str, secure: tuple[str, ...], plain: tuple[str, ...], base: bool) -> str | None:
    """What is wrong with an address, or None. `plain` schemes are for loopback hosts; a `base` has no path."""
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        return "must be an address such as " + f"{secure[0]}://host:port"
    if parts.scheme not in secure + plain or not parts.hostname or not port_is_number:
        return "must be an address such as " + f"{secure[0]}://host:port"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        return "must not hold spaces or control characters"
    if base and (parts.path.strip("/") or parts.query or parts.fragment):
        return "must be a base address: nothing may follow the host and port"
    if parts.scheme in plain and not is_loopback(parts):
        return f"must begin with {secure[0]}://; plain {parts.scheme}:// is for this machine only (127.0.0.1)"
    return None


def is_loopback(parts: SplitResult) -> bool:
    """Whether the host is this machine, by its literal name or address (no look-up)."""
    from ipaddress import ip_address

    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
