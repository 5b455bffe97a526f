"""Checks in order: each depends on others, and is skipped, saying why, where one of those has failed or was skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from device_agent.config.secrets import redacted
from device_agent.doctor.host import Case
from device_agent.records import record


class Status(Enum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"  # it works, though not as well or not for long
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be looked at


BLOCKS = {Status.FAILED: "failed", Status.SKIPPED: "was skipped"}


@record
class Finding:
    """`evidence` is what was seen, `remedy` one line of what to do, `fix` a command that may be run without harm."""

    status: Status
    evidence: str
    remedy: str = ""
    fix: tuple[str, ...] = ()


@record
class Check:
    """A question about this machine. `id` is stable: docs/troubleshooting.md has a heading for each."""

    id: str
    look: Callable[[Case], Finding]
    needs: tuple[str, ...] = ()
    """The checks without which this one has no meaning."""

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]


@record
class Result:
    """A check's finding."""

    id: str
    finding: Finding

    @property
    def status(self) -> Status:
        return self.finding.status


def ok(evidence: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, evidence)


def warning(evidence: str, remedy: str, fix: Sequence[str] = ()) -> Finding:
    """It works, though not as well or not for long."""
    return Finding(Status.WARNING, evidence, remedy, tuple(fix))


def failed(evidence: str, remedy: str, fix: Sequence[str] = ()) -> Finding:
    """It does not work."""
    return Finding(Status.FAILED, evidence, remedy, tuple(fix))


def skipped(evidence: str) -> Finding:
    """It cannot be looked at now."""
    return Finding(Status.SKIPPED, evidence)


def examine(checks: Sequence[Check], case: Case) -> Iterator[Result]:
    """Look at everything, in order. `needs` name earlier checks; those that were not asked for count as passed."""
    blocked: dict[str, str] = {}
    for check in checks:
        cause = next((blocked[need] for need in check.needs if need in blocked), "")
        finding = skipped(f"because {cause}") if cause else _look(check, case)
        if finding.status in (Status.FAILED, Status.SKIPPED):
            blocked[check.id] = cause or f"{check.id} {BLOCKS[finding.status]}"
        yield Result(check.id, finding)


def _look(check: Check, case: Case) -> Finding:
    try:
        found = check.look(case)
    except Exception as error:  # one broken check must not hide what the others see
        return failed(_line(f"the check itself broke: {error!r}"), "run `device-agent doctor report` and send it to us")
    return Finding(found.status, _line(found.evidence), _line(found.remedy), found.fix)


def _line(text: str) -> str:
    return redacted(" ".join(text.split()))
