"""What a machine must have for a lab: tried for real in a throwaway one, and said in words where it fails.

`missing()` is for the setup: every lack it returns names what is missing, why (the kernel's own setting where there is
one), and what to do about it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import namespaces

_TIMEOUT = 20


@dataclass(frozen=True, slots=True)
class Lack:
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}\n  → {self.remedy}"


_PROGRAMS = {"ip": "iproute2", "nft": "nftables"}


def missing() -> list[Lack]:
    """Everything this machine lacks for a lab; empty when one can be entered and does what a lab must do."""
    if not sys.platform.startswith("linux"):
        return [Lack("Linux", f"this is {sys.platform}", "run it on Linux, or in a Linux VM")]
    search = namespaces.search_path()
    lacks = [
        Lack(f"the {program} command", f"not found in {search}", f"sudo apt-get install {package}")
        for program, package in _PROGRAMS.items()
        if not shutil.which(program, path=search)
    ]
    return lacks + _in_a_throwaway_lab(try_kernel, without_programs=bool(lacks))


def try_kernel() -> list[Lack]:
    """Inside a lab: what its kernel refuses of what hypervisors are made of."""
    lacks = []
    for what, remedy, commands in _TRIALS:
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                lacks.append(Lack(what, f"`{' '.join(command)}` says: {said[0]}", remedy))
                break
    if not Path("/proc/sys/net/bridge").exists():
        lacks.append(
            Lack(
                "br_netfilter in the kernel",
                "there is no /proc/sys/net/bridge, and only the machine's root can load the module",
                "sudo modprobe br_netfilter && echo br_netfilter | sudo tee /etc/modules-load.d/verge-lab.conf",
            )
        )
    return lacks


def _modprobe(module: str) -> str:
    return f"sudo modprobe {module} (where there is no such module: a kernel that has it)"


_TRIALS: tuple[tuple[str, str, tuple[tuple[str, ...], ...]], ...] = (
    ("veth links", _modprobe("veth"), (("ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"),)),
    ("bridges", _modprobe("bridge"), (("ip", "link", "add", "trybr", "type", "bridge"),)),
    (
        "named network namespaces",
        "let this process mount a sysfs: in a container, run it with --privileged",
        (("ip", "netns", "add", "try"), ("ip", "netns", "exec", "try", "true")),
    ),
    (
        "nftables, bridge family",
        _modprobe("nf_tables"),
        (("nft", "add table bridge try; add chain bridge try c { type filter hook prerouting priority -300; }"),),
    ),
    (
        "nftables with connection tracking",
        _modprobe("nf_conntrack nft_ct"),
        (("nft", "add table ip try; add chain ip try c; add rule ip try c ct state established accept"),),
    ),
    (
        "nftables with NAT",
        _modprobe("nft_chain_nat"),
        (("nft", "add table ip try; add chain ip try n { type nat hook postrouting priority 100; }"),),
    ),
)


# -- why a lab cannot be entered


def refusal(error: namespaces.Refused) -> Lack:
    """The kernel's refusal in words, with the setting that is behind it."""
    return explain(error, _settings())


def _settings() -> dict[str, str]:
    """The kernel's switches for user namespaces, as far as this kernel has them, and the container we are in, if any."""
    found = {}
    for name in (
        "kernel.apparmor_restrict_unprivileged_userns",
        "kernel.unprivileged_userns_clone",
        "user.max_user_namespaces",
        "user.max_net_namespaces",
        "user.max_mnt_namespaces",
        "user.max_pid_namespaces",
    ):
        path = Path("/proc/sys") / name.replace(".", "/")
        if path.exists():
            found[name] = path.read_text().strip()
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or os.environ.get("container"):  # noqa: SIM112
        found["container"] = "yes"
    return found


def explain(error: namespaces.Refused, settings: dict[str, str]) -> Lack:
    """Which of the settings stands behind this refusal, most telling first."""
    what = f"a private lab ({error.step})"
    said = f"the kernel says “{error.reason}”"
    for name in ("user", "net", "mnt", "pid"):
        limit = f"user.max_{name}_namespaces"
        if settings.get(limit) == "0":
            return Lack(what, f"{said}: {limit} is 0", f"sudo sysctl -w {limit}=10000")
    if "container" in settings:
        return Lack(
            what,
            f"{said}: this is a container without the right to make namespaces (CAP_SYS_ADMIN, and a seccomp and "
            "AppArmor profile that let it mount)",
            "start the container with --privileged",
        )
    if os.geteuid() != 0 and settings.get("kernel.unprivileged_userns_clone") == "0":
        return Lack(
            what,
            f"{said}: kernel.unprivileged_userns_clone is 0, so only root may make namespaces",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run it as root",
        )
    if os.geteuid() != 0 and settings.get("kernel.apparmor_restrict_unprivileged_userns") == "1":
        return Lack(
            what,
            f"{said}: AppArmor lets no ordinary user have capabilities in a user namespace "
            "(kernel.apparmor_restrict_unprivileged_userns is 1, Ubuntu's default since 23.10)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run it as root",
        )
    if os.geteuid() == 0:
        return Lack(what, f"{said} to root", "run it as root with all capabilities, CAP_SYS_ADMIN above all")
    return Lack(what, said, "run it as root")


# -- the throwaway lab


def _in_a_throwaway_lab(trial: Callable[[], list[Lack]], *, without_programs: bool) -> list[Lack]:
    """Fork, enter a lab there, and read back what the trial found. This process stays where it is."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        lacks = []
        try:
            namespaces.become_private()
            if not os.fork():
                try:
                    namespaces.furnish()
                    lacks = [] if without_programs else trial()
                except namespaces.Refused as refused:
                    lacks = [refusal(refused)]
                os.write(write, json.dumps([asdict(lack) for lack in lacks]).encode())
                os._exit(0)
            os.wait()
        except namespaces.Refused as refused:
            os.write(write, json.dumps([asdict(refusal(refused))]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        return [Lack("a private lab", "the trial died without a word", "run `python -m lab.enter -- true` to see why")]
    return [Lack(**lack) for lack in json.loads(answer)]


def main() -> int:
    """`python -m lab.lacks`: says what is missing; 0 when nothing is."""
    lacks = missing()
    for lack in lacks:
        print(lack)
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
