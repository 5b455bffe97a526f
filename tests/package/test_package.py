"""The Debian package: installed, upgraded, downgraded and purged in a real, empty Debian."""

from __future__ import annotations

import subprocess
from pathlib import Path

from root import Root


def test_lintian_finds_no_error(package: Path) -> None:
    """The distribution's own checker has nothing to object."""
    done = subprocess.run(("lintian", "--fail-on", "error", package), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_installs_without_network_compiler_and_hardware(root: Root, package: Path) -> None:
    """On an empty Debian it is installed, byte-compiled, and all that it imports is there."""
    assert root.run("command -v gcc").returncode != 0
    done = root.install(package)
    assert done.returncode == 0, done.stdout
    assert root.run("device-agent --version && device-agent config check").returncode == 0
    assert root.run("test -f /usr/share/man/man1/device-agent.1.gz").returncode == 0
    assert root.run("bash -n /usr/share/bash-completion/completions/device-agent").returncode == 0
    assert list(root.upper.glob("usr/lib/device-agent/*/device_agent/__pycache__/device.*.pyc"))
    assert imports_all(root).returncode == 0, imports_all(root).stderr


def test_a_package_that_lacks_a_module_is_noticed(root: Root, package: Path) -> None:
    """Sabotage of the test above: without the speech detector the imports fail."""
    root.install(package)
    root.run("rm /usr/lib/device-agent/*/_webrtcvad*.so")
    assert "_webrtcvad" in imports_all(root).stderr


def test_an_installers_drill_finds_program_and_simulator(root: Root, package: Path) -> None:
    """What the bench starts are the package's own modules, which no interpreter finds by itself."""
    root.install(package)
    drill = "with Simulator(Path('/tmp/heard.wav')) as simulator: print(simulator.url)"
    imports = "from pathlib import Path; from device_agent.bench.demo import Simulator"
    done = root.run(f'(sed \'/^from/,$d\' /usr/bin/device-agent; echo "{imports}"; echo "{drill}") | python3 -I')
    assert done.stdout.startswith("ws://127.0.0.1:"), done.stderr


def test_the_service_has_its_user(root: Root, package: Path) -> None:
    """A static user in the groups that own sound cards and pins."""
    root.install(package)
    assert {"audio", "gpio"} <= set(root.run("id -nG device-agent").stdout.split())


def test_an_upgrade_and_a_downgrade_keep_configuration_key_and_state(
    root: Root, package: Path, next_package: Path
) -> None:
    """Both ways, and only one version's modules are left."""
    root.install(package)
    kept = "/etc/device-agent/conf.d/mine.toml /etc/credstore/elevenlabs-api-key /var/lib/device-agent/state.json"
    root.run(f"for f in {kept}; do mkdir -p $(dirname $f); echo mine >$f; done")
    root.run("echo '# mine' >>/etc/device-agent/config.toml")
    for version, other in ((next_package, ""), (package, "99.0")):
        done = root.install(version)
        assert done.returncode == 0, done.stdout
        assert root.run(f"cat {kept}").stdout == "mine\n" * 3
        assert root.run("tail -n 1 /etc/device-agent/config.toml").stdout == "# mine\n"
        assert root.run("device-agent --version").returncode == 0
        directories = root.run("ls -A /usr/lib/device-agent | grep -c '^[.0-9]'").stdout
        assert directories == "1\n", root.run("ls -A /usr/lib/device-agent").stdout
        assert not other or other not in root.run("device-agent --version").stdout


def test_a_purge_leaves_nothing(root: Root, package: Path) -> None:
    """Not a file, not a user, not a key; only logs and caches of dpkg and apt have changed."""
    before = listing(root)
    root.install(package)
    root.run("mkdir -p /var/lib/device-agent /etc/device-agent/conf.d /etc/credstore")
    root.run("touch /var/lib/device-agent/state.json /etc/device-agent/conf.d/a.toml /etc/credstore/elevenlabs-api-key")
    assert listing(root) != before
    done = root.run("dpkg --purge device-agent 2>&1")
    assert done.returncode == 0, done.stdout
    assert listing(root) ^ before <= {"/etc/credstore", "/etc/group-", "/etc/passwd-", "/etc/shadow-", "/etc/gshadow-"}
    assert root.run("getent passwd device-agent").returncode != 0


def imports_all(root: Root) -> subprocess.CompletedProcess[str]:
    """What the launcher does, up to its first import, and then everything that the service needs."""
    ours = ", ".join(f"device_agent.{name}" for name in ("device", "audio.capture", "audio.playback", "link.worker"))
    theirs = "pyaudio, gpiozero, _webrtcvad, websocket, cattrs"
    return root.run(f"(sed '/^from/,$d' /usr/bin/device-agent; echo 'import {ours}, {theirs}') | python3 -I")


def listing(root: Root) -> set[str]:
    found = root.run("find / -xdev -not -path '/var/log/*' -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*'")
    return set(found.stdout.splitlines())
