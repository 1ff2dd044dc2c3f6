"""Entering a lab: what passes through, what ends with it, and what is said where the kernel refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import enter, namespaces
from lab.lacks import Lack, explain, missing, try_kernel

ROOT = Path(__file__).parents[2]
ENTER = (sys.executable, "-m", "lab.enter", "--")
WAIT = 20


def run(*command: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ENTER, *command], cwd=ROOT, text=True, capture_output=True, timeout=WAIT, check=False, **how
    )


@contextmanager
def started(command: Sequence[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A lab running the command in a process group of its own; gone at the end."""
    lab = subprocess.Popen(
        [*ENTER, *command],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **how,
    )
    try:
        with lab:
            yield lab
            lab.kill()
    finally:
        lab.kill()


def line(lab: subprocess.Popen[str]) -> str:
    assert lab.stdout
    return lab.stdout.readline().strip()


# -- what passes through


def test_standard_streams_and_the_exit_code_pass_through() -> None:
    done = run("sh", "-c", "cat; echo oops >&2; exit 7", input="said\n")
    assert (done.stdout, done.stderr, done.returncode) == ("said\n", "oops\n", 7)


def test_death_by_a_signal_is_128_and_the_signal() -> None:
    assert run("sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_cannot_be_executed_is_told_as_a_shell_tells_it() -> None:
    absent, refused = run("/no/such"), run("/etc/passwd")
    assert (absent.returncode, refused.returncode) == (127, 126)
    assert "/no/such: No such file or directory" in absent.stderr


def test_inside_are_an_own_network_processes_and_run() -> None:
    done = run(
        "sh", "-c", "ip -brief link; ls /run; cat /proc/1/cmdline | tr '\\0' ' '; echo; ip address add 10.0.0.1 dev lo"
    )
    assert done.returncode == 0, done.stderr
    links, *rest = done.stdout.splitlines()
    assert links.split()[:2] == ["lo", "UNKNOWN"]
    assert {"netns", "verge-lab"} <= set(rest)
    assert "lab.enter" in rest[-1]


def test_a_path_under_run_stays_when_asked_for(tmp_path: Path) -> None:
    kept = Path("/run/kept-by-a-test")
    kept.mkdir()
    try:
        (kept / "socket").touch()
        command = [sys.executable, "-m", "lab.enter", "--keep", str(kept), "--", "ls", str(kept)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "socket\n"
        assert run("ls", str(kept)).returncode != 0
    finally:
        (kept / "socket").unlink()
        kept.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one uid only, and needs no other")
def test_as_root_the_other_uids_can_be_used() -> None:
    done = run(
        sys.executable, "-S", "-c", "import os; os.setgid(1234); os.setuid(1234); print(os.getuid(), os.getgid())"
    )
    assert done.stdout == "1234 1234\n", done.stderr


def test_an_inherited_listening_socket_serves_its_old_network_and_is_held_by_the_command_alone() -> None:
    serve = (
        "import os, socket, sys\n"
        "assert os.environ['LISTEN_PID'] == str(os.getpid())\n"
        "listener = socket.socket(fileno=int(sys.argv[1]))\n"
        "print('up', flush=True)\n"
        "connection, _ = listener.accept(); connection.sendall(b'from inside'); connection.close(); listener.close()\n"
        "print('closed', flush=True); sys.stdin.read()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address, number = listener.getsockname(), listener.fileno()
        # As a service manager does it: LISTEN_PID is the pid of the process it starts, known only to that process.
        start = f'LISTEN_PID=$$ exec {" ".join(ENTER)} "$@"'
        command = ["sh", "-c", start, "sh", sys.executable, "-c", serve, str(number)]
        with subprocess.Popen(
            command, cwd=ROOT, text=True, pass_fds=(number,), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as lab:
            try:
                assert line(lab) == "up"
                listener.close()
                with socket.create_connection(address, timeout=WAIT) as client:
                    assert client.recv(100) == b"from inside"
                assert line(lab) == "closed"
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address, timeout=WAIT)
            finally:
                lab.kill()


# -- signals

COUNT = """
import signal
numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("up", flush=True)
counted = []
while (number := signal.sigwait(numbers)) != signal.SIGUSR1:
    counted.append(signal.Signals(number).name)
    print("got", flush=True)
print(*counted, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_reaches_the_command_once(number: signal.Signals, *, whole_group: bool) -> None:
    """To the process, as kill does, or to its whole group, as a terminal does at Ctrl-C."""
    with started((sys.executable, "-c", COUNT)) as lab:
        assert line(lab) == "up"
        (os.killpg if whole_group else os.kill)(lab.pid, number)
        assert line(lab) == "got"
        # Handed on in order: were there a second copy of the first signal, it would come before this one.
        lab.send_signal(signal.SIGUSR1)
        assert line(lab) == number.name
        assert lab.wait(WAIT) == 0


def test_the_command_cleans_up_before_the_lab_ends() -> None:
    with started(("sh", "-c", "trap 'echo cleaned; exit 3' TERM; echo up; while :; do sleep 0.05; done")) as lab:
        assert line(lab) == "up"
        lab.terminate()
        assert line(lab) == "cleaned"
        assert lab.wait(WAIT) == 3


# -- nothing stays

LEAVE_A_DAEMON = "ip netns add n; ip netns exec n sleep 1000 & setsid sleep 1000 & echo up; "


@pytest.mark.parametrize("ending", ["the command ends", "kill -9 of the outer process"])
def test_everything_inside_ends_with_the_lab(ending: str) -> None:
    """Every process inside holds the write end of a pipe: its end is the end of the last of them."""
    read, write = os.pipe()
    with started(("sh", "-c", LEAVE_A_DAEMON + "read line"), pass_fds=(write,)) as lab:
        os.close(write)
        assert line(lab) == "up"
        if ending == "the command ends":
            lab.communicate("\n", timeout=WAIT)
        else:
            lab.kill()
        with os.fdopen(read) as pipe:
            assert pipe.read() == ""
        assert lab.wait(WAIT) in (0, -signal.SIGKILL)
    assert not Path("/run/netns/n").exists()


# -- what is missing


def test_this_machine_has_what_a_lab_needs() -> None:
    assert missing() == []


def test_missing_programs_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespaces, "search_path", lambda: str(tmp_path))
    assert [(lack.what, lack.remedy) for lack in missing()] == [
        ("the ip command", "sudo apt-get install iproute2"),
        ("the nft command", "sudo apt-get install nftables"),
    ]


def test_a_limit_of_no_namespaces_is_named_by_the_refusal_and_by_the_setup() -> None:
    """A real refusal: in a user namespace whose own limit is zero."""
    forbid = (
        "import os, sys; from pathlib import Path; from lab import enter, lacks, syscalls\n"
        "uid = os.geteuid(); syscalls.unshare(syscalls.CLONE_NEWUSER)\n"
        "Path('/proc/self/uid_map').write_text(f'{uid} {uid} 1')\n"
        "Path('/proc/sys/user/max_net_namespaces').write_text('0')\n"
        "print(*lacks.missing(), flush=True)\n"
        "sys.exit(enter.main(['--', 'true']))\n"
    )
    command = [sys.executable, "-c", forbid]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=WAIT, check=False)
    assert done.returncode == enter.NOT_STARTED, done.stderr
    for said in (done.stdout, done.stderr):
        assert "a network namespace" in said
        assert "user.max_net_namespaces is 0" in said
        assert "sudo sysctl -w user.max_net_namespaces=10000" in said


APPARMOR, CLONE = "kernel.apparmor_restrict_unprivileged_userns", "kernel.unprivileged_userns_clone"


@pytest.mark.parametrize(
    ("uid", "settings", "why", "remedy"),
    [
        (1000, {APPARMOR: "1"}, APPARMOR, f"sysctl -w {APPARMOR}=0"),
        (1000, {APPARMOR: "0", CLONE: "0"}, CLONE, f"sysctl -w {CLONE}=1"),
        (1000, {"user.max_user_namespaces": "0"}, "user.max_user_namespaces is 0", "sysctl -w user.max_user"),
        (0, {"container": "yes", APPARMOR: "1"}, "CAP_SYS_ADMIN", "--privileged"),
        (0, {APPARMOR: "1", CLONE: "0"}, "to root", "all capabilities"),
        (1000, {APPARMOR: "0", CLONE: "1"}, "Operation not permitted", "run it as root"),
    ],
)
def test_a_refusal_names_the_setting_behind_it(
    monkeypatch: pytest.MonkeyPatch, uid: int, settings: dict[str, str], why: str, remedy: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    lack = explain(namespaces.Refused("a user namespace", PermissionError(1, "Operation not permitted")), settings)
    assert why in lack.why
    assert remedy in lack.remedy
    assert str(lack).startswith("a private lab (a user namespace): ")


def test_a_trial_that_fails_says_what_the_kernel_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An `ip` that fails as it does where the module is missing."""
    ip = tmp_path / "ip"
    ip.write_text("#!/bin/sh\necho 'Error: Unknown device type.' >&2; exit 2\n")
    ip.chmod(0o755)
    (tmp_path / "nft").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lacks: list[Lack] = try_kernel()
    assert [lack.what for lack in lacks] == ["veth links", "bridges", "named network namespaces"]
    assert "says: Error: Unknown device type." in lacks[0].why
    assert "modprobe veth" in lacks[0].remedy


# -- the tests themselves


def test_outside_a_lab_these_tests_fail_and_say_how_to_run_them() -> None:
    outside = (
        "import os, sys; from lab import syscalls\n"
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount('none', '/', None, syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.mount('tmpfs', '/run', 'tmpfs', 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', sys.argv[1]])\n"
    )
    test = "tests/dataplane/test_lab.py::test_sysctls_are_the_hosts_own"
    command = [sys.executable, "-c", outside, test]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "data-plane tests run inside a lab: python -m lab.enter -- python -m pytest tests/dataplane" in done.stdout
