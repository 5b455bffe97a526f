"""Sound: the cards, who may use them, who does, and what the microphone gives."""

from __future__ import annotations

from device_agent.audio.chirp import share
from device_agent.audio.choice import fits
from device_agent.audio.hardware import Hardware, Machine
from device_agent.audio.vad import CLIPPED_SHARE, clipped, level_dbfs
from device_agent.config.cards import parse
from device_agent.doctor.check import Finding, failed, ok, skipped, warning
from device_agent.doctor.host import Case
from device_agent.errors import AudioError

SILENT_DBFS = -90.0
HUM_SHARE = 0.7
QUIET_DBFS = -60.0
HUMS = (50, 60, 100, 120)


def machine(case: Case) -> Machine:
    """What the kernel knows of its cards."""
    return Machine(case.host.root, case.host.environ)


def _servers(case: Case) -> tuple[str, ...]:
    return machine(case).surroundings()[1:]


def cards(case: Case) -> Finding:
    """Whether there is any sound at all."""
    found = machine(case).cards()
    if not found and not _servers(case):
        return failed(
            "no sound card and no sound server", "plug one in, or choose your board: device-agent setup --board"
        )
    names = [f"{card.name} (id:{card.id})" for card in found.values()]
    return ok("; ".join(names) or "a sound server")


def rights(case: Case) -> Finding:
    """Whether this user may open them."""
    nodes = sorted(case.host.place("dev/snd").glob("pcm*"))
    if not nodes or _servers(case):
        return ok("not needed: a sound server has them" if _servers(case) else "not needed: no card of its own")
    if not any(case.host.may_use(node) for node in nodes):
        return failed(
            "none of /dev/snd/pcm* may be opened by this user", "sudo usermod -aG audio $USER, then log in again"
        )
    return ok(f"{len(nodes)} devices in /dev/snd")


def configured(case: Case) -> Finding:
    """Whether the cards that the configuration names are there."""
    there = machine(case).cards().values()
    missing = []
    for setting, wanted in (("audio.input", case.settings.audio.input), ("audio.output", case.settings.audio.output)):
        named = [text for text in wanted if parse(text).kind in ("id", "usb-id", "usb-path")]
        if named and named == list(wanted) and not any(fits(parse(text), card) for text in named for card in there):
            missing.append(f"{setting} = {', '.join(named)}")
    if missing:
        names = ", ".join(f"id:{card.id}" for card in there) or "none"
        return failed(f"{'; '.join(missing)}: no such card; there are: {names}",
                      "plug it in, or choose another: device-agent bench cards")  # fmt: skip
    return ok("as configured" if case.settings.audio.input or case.settings.audio.output else "chosen by itself")


def free(case: Case) -> Finding:
    """Whether another program holds a card that we need."""
    if case.device() is not None:
        return ok("the running device has them, and says below how it fares")
    held = []
    here = machine(case)
    for number, card in here.cards().items():
        for output, side in ((False, "microphone"), (True, "loudspeaker")):
            if here.has(number, output) and _wanted(case, card, output):
                obstacle = here.obstacle(number, output)
                if "in use by" in obstacle and "device-agent" not in obstacle and not _servers(case):
                    held.append(f"{side} {card.name} {obstacle.partition(':')[0]}")
    if held:
        return failed(
            "; ".join(held), "close that program (fuser -v /dev/snd/*), or share the card: a sound server does"
        )
    return ok("nobody else holds them")


def _wanted(case: Case, card: Hardware, output: bool) -> bool:
    wanted = case.settings.audio.output if output else case.settings.audio.input
    return not wanted or any(fits(parse(text), card) for text in wanted)


def microphone(case: Case) -> Finding:
    """Whether it can be opened, and delivers."""
    if found := _in_use(case, "microphone"):
        return found
    try:
        case.recording = case.host.record_sound(case.settings)
    except AudioError as error:
        return failed(*_parted(error))
    return ok(f"{case.recording.card} at {case.recording.rate} Hz")


def _in_use(case: Case, side: str) -> Finding | None:
    """What the running device says of its own; None where none runs."""
    said = case.device()
    if said is None:
        return skipped(case.refused) if case.refused else None
    if wrong := said.get(side) or said.get(f"{side}_check"):
        return failed(str(wrong), "see `device-agent status`")
    return ok(f"the running device has {said.get(f'{side}_card') or 'it'}")


def level(case: Case) -> Finding:
    """Silence, clipping and hum in one second of it."""
    recording = case.recording
    if recording is None:
        return skipped("the running device has the microphone: stop it to measure (systemctl stop device-agent)")
    dbfs = level_dbfs(recording.pcm)
    if dbfs < SILENT_DBFS:
        return warning(f"digital silence ({dbfs:.0f} dBFS)", "unmute it (alsamixer, a switch on it), or choose another")
    if (lost := clipped(recording.pcm)) > CLIPPED_SHARE:
        return warning(f"{lost:.1%} of the samples are clipped", "turn its gain down (alsamixer)")
    strongest, part = hum(recording.pcm, recording.rate)
    if part > HUM_SHARE and dbfs > QUIET_DBFS:
        return warning(
            f"hum of {strongest} Hz is {part:.0%} of what it hears", "another power supply, or a shorter cable"
        )
    return ok(f"{dbfs:.0f} dBFS, no clipping, no hum")


def loudspeaker(case: Case) -> Finding:
    """Whether it can be opened."""
    if found := _in_use(case, "loudspeaker"):
        return found
    try:
        return ok(case.host.open_loudspeaker(case.settings))
    except AudioError as error:
        return failed(*_parted(error))


def echo(case: Case) -> Finding:
    """Whether the canceller that is wanted is installed, and how well the running device is served by it."""
    if case.settings.audio.echo == "aec" and not case.host.installed("livekit"):
        return failed("audio.echo is aec, and livekit is not installed", 'pip install livekit, or audio.echo = "auto"')
    found = str((case.status or {}).get("echo", ""))
    if "achieves too little" in found:
        return warning(found, "part loudspeaker and microphone; `device-agent setup echo` listens and advises")
    return ok(f"audio.echo = {case.settings.audio.echo}{found and f', the running device: {found}'}")


def hum(pcm: bytes, rate: int) -> tuple[int, float]:
    """The mains frequency (Hz) that is heard most, and its share of the energy, 0 … 1."""
    shares = {frequency: share(pcm, frequency, rate) for frequency in HUMS}
    strongest = max(shares, key=shares.__getitem__)
    return strongest, shares[strongest]


def _parted(error: AudioError) -> tuple[str, str]:
    thing, _, remedy = str(error).rpartition(": ")
    return (thing, remedy) if thing else (str(error), "device-agent bench cards")
