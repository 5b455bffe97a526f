# Shell functions of the scripts beside this file, which source it. Bash.
# shellcheck shell=bash

set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
python=/usr/bin/python3
venv=$root/.venv
sound=$root/.cache/sound
export PYTHONNOUSERSITE=1 # nothing from the user's home

say() {
    printf '%s\n' "$*" >&2
}

# stop CODE SENTENCE: codes as in sysexits(3): 69 something is not available, 77 no permission.
stop() {
    say "${0##*/}: $2"
    exit "$1"
}

# attempt COMMAND…: runs it in silence; $log holds what it said.
attempt() {
    log=$("$@" 2>&1)
}

last_words() {
    tail -n 3 <<<"$log"
}

# become_root COMMANDS: sets $sudo, or ends with the commands that the user can give to an administrator.
become_root() {
    if [[ $(id -u) == 0 ]]; then
        sudo=()
    elif [[ -t 0 ]] && command -v sudo >/dev/null; then
        sudo=(sudo)
    else
        say "${0##*/}: needs root once, and this is neither root nor a terminal with sudo. Run this, then try again:"
        say "$1"
        exit 77
    fi
}

installed() {
    local states # dpkg-query fails where it does not know one of the names; some libraries got a suffix in Debian 13
    states=$(dpkg-query --show --showformat='|${db:Status-Status}' "$1" "$1t64" 2>/dev/null) || true
    [[ $states == *"|installed"* ]]
}

simulate_install() {
    LC_ALL=C apt-get --simulate install --no-install-recommends "$@"
}

# refresh_lists COMMANDS: what the user is told to run where we may not.
refresh_lists() {
    become_root "$1"
    say "Reading the package lists (apt-get update)"
    attempt "${sudo[@]}" apt-get update || stop 69 "apt-get update fails: $(last_words)"
}

# install_packages NAME…: those that are not installed yet, with apt; stops if any other package had to go for them.
install_packages() {
    local missing=() name line removed
    command -v apt-get >/dev/null || stop 69 "this needs Debian, Raspberry Pi OS or another system with apt"
    for name; do
        installed "$name" || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    line="sudo apt-get install --no-install-recommends ${missing[*]}"
    if ! attempt simulate_install "${missing[@]}"; then
        refresh_lists "sudo apt-get update && $line"
        attempt simulate_install "${missing[@]}" || stop 69 "apt cannot install ${missing[*]}: $(last_words)"
    fi
    removed=$(sed -n 's/^Remv \([^ ]*\).*/\1/p' <<<"$log" | xargs)
    [[ -z $removed ]] || stop 69 "installing ${missing[*]} would remove $removed: nothing was changed. Please decide yourself: $line"
    become_root "$line"
    say "Installing with apt: ${missing[*]}"
    apt_install "${missing[@]}" && return
    refresh_lists "$line" # the lists may be too old for what the mirror holds
    apt_install "${missing[@]}" || stop 69 "apt fails: $(last_words)"
}

apt_install() {
    attempt "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-remove --no-install-recommends -o APT::Keep-Downloaded-Packages=false "$@"
}

# The socket is looked for first, because pactl leaves a cookie in the user's home.
sound_server_runs() {
    [[ -n ${PULSE_SERVER-} || -S ${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/pulse/native ]] || return
    ! command -v pactl >/dev/null || pactl info >/dev/null 2>&1
}

# Virtual sound cards need a PulseAudio where no sound server runs, and ALSA's plug-in for it everywhere. Installing
# these two packages would bring 250 MB (a whole ffmpeg), start a server at each log-in from then on and evict PipeWire.
# So the little they hold that we need is unpacked into .cache/sound, beside the libraries it links.
sound_parts() {
    sound_server_runs || command -v pulseaudio >/dev/null || echo pulseaudio
    compgen -G '/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so' >/dev/null || echo libasound2-plugins
}

sound_packages() {
    echo pulseaudio-utils
    [[ $(sound_parts) != *pulseaudio* ]] || printf '%s\n' libltdl7 liborc-0.4-0 libsoxr0 libtdb1 libwrap0
}

# provide_sound: puts what sound_parts names on this process's paths. Call it when sound_packages are installed.
provide_sound() {
    local part
    for part in $(sound_parts); do
        case $part in
            pulseaudio)
                "$sound/bin/pulseaudio" --version >/dev/null 2>&1 || unpack pulseaudio
                attempt "$sound/bin/pulseaudio" --version || stop 69 "PulseAudio does not run here: $(last_words)"
                PATH=$sound/bin:$PATH
                ;;
            libasound2-plugins)
                [[ -d $sound/alsa-lib ]] || unpack libasound2-plugins
                export ALSA_PLUGIN_DIR=$sound/alsa-lib
                ;;
        esac
    done
}

# unpack PACKAGE: its files, and for pulseaudio a command that finds them.
unpack() {
    local tree=$sound/$1 plugins
    say "Unpacking $1 into .cache/sound"
    rm -rf "$tree"
    mkdir -p "$tree" "$sound/bin"
    if ! attempt download "$1" "$tree"; then
        refresh_lists "sudo apt-get update"
        attempt download "$1" "$tree" || stop 69 "apt cannot download $1: $(last_words)"
    fi
    dpkg-deb --extract "$tree"/*.deb "$tree"
    rm "$tree"/*.deb
    if [[ $1 == pulseaudio ]]; then
        cat >"$sound/bin/pulseaudio" <<'WRAPPER'
#!/bin/bash
tree=$(dirname "$(dirname "$(readlink -f "$0")")")/pulseaudio
modules=$(echo "$tree"/usr/lib/pulse-*/modules)
export LD_LIBRARY_PATH="$modules:$(echo "$tree"/usr/lib/*/pulseaudio)"
exec "$tree/usr/bin/pulseaudio" --dl-search-path="$modules" "$@"
WRAPPER
        chmod +x "$sound/bin/pulseaudio"
    else
        # ALSA looks for plug-ins in one directory only: those of the system belong there too.
        plugins=$(echo "$tree"/usr/lib/*/alsa-lib)
        mkdir -p "$sound/alsa-lib"
        find "/usr/lib/$(basename "$(dirname "$plugins")")/alsa-lib" "$plugins" -name '*.so' \
            -exec ln -sf -t "$sound/alsa-lib" {} + 2>/dev/null || true
    fi
}

download() {
    cd "$2" && apt-get download "$1"
}

# provide_python EXTRA: a virtual environment with the program and this extra of setup.cfg. PyAudio comes from the
# distribution, everything else as wheels: no compiler.
provide_python() {
    local stamp=$venv/.complete-$1 key
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop 69 "needs Python 3.11 or newer (Debian 12, Raspberry Pi OS bookworm), not $("$python" --version)"
    key="$root $("$python" --version) $(cat "$root/setup.cfg" "$root/pyproject.toml" | cksum)"
    if [[ -f $stamp && $(<"$stamp") == "$key" ]] && "$venv/bin/python" -c ''; then
        return
    fi
    if ! grep -qsF -- "--system-site-packages $venv" "$venv/pyvenv.cfg" || ! attempt "$venv/bin/python" -m pip --version; then
        say "Making a virtual environment in .venv"
        "$python" -m venv --clear --system-site-packages "$venv"
    fi
    say "Installing the program with its extra [$1] into .venv"
    pip_install "$venv" --editable ".[$1]"
    printf '%s' "$key" >"$stamp"
}

# pip_install ENVIRONMENT ARGUMENT…
pip_install() {
    local environment=$1
    shift
    cd "$root" # for the relative path in the arguments
    attempt "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary=:all: "$@" || stop 69 "pip fails: $(last_words)"
    cd "$OLDPWD"
}

# vm_image SUITE: where the virtual machine's disk image is kept.
vm_image() {
    if [[ $(id -u) == 0 ]]; then
        echo "/var/cache/device-agent/vm-$1"
    else
        echo "$root/.cache/vm-$1"
    fi
}
