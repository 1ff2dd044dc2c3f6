"""A private lab: `python -m lab.enter -- CMD…` runs CMD with a network, mounts and processes of its own.

    caller ──▶ this process ──▶ init (pid 1 inside) ──▶ CMD
               waits, passes     reaps orphans,
               signals on        hands signals to CMD

As root the lab keeps the machine's user ids (Postgres runs under another one); for an ordinary user it is a user
namespace with his own id and every capability within. Promised:

* Nothing is left behind, also after kill -9 of any of the three: everything inside dies with init, and namespaces named
  under /run/netns live in a tmpfs that only the lab sees.
* stdin, stdout, stderr and inherited descriptors reach CMD as they are (LISTEN_PID is set anew), and are held open by
  nobody else. CMD's exit code comes back; death by signal N is 128 + N, and 125 means that CMD was never started.
* A signal reaches CMD once, whether it was sent to this process, or to the whole group by a terminal.

Not through unshare(1): it cannot be pid 1's patient parent, and its failure does not say which step was refused.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from lab import syscalls
from lab.namespaces import Refused, become_private, furnish, kept_paths

NOT_STARTED = 125
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_WAITED_FOR = (*_PASSED_ON, signal.SIGCHLD)
_GROUP_WAIT = 0.02


def enter(command: Sequence[str], keep: Iterable[str] = ()) -> int:
    """Run the command in a new lab; its exit code. This process itself changes: call it from a main of its own.

    Raises Refused, or OSError when the command cannot be executed.
    """
    kept = kept_paths(keep)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    become_private()
    orders, ordering = os.pipe()
    answer, answering = os.pipe()
    outer = os.getpid()
    init = os.fork()
    if not init:
        os.close(ordering)
        os.close(answer)
        _init(command, kept, orders, answering, outer)
    os.close(orders)
    os.close(answering)
    refused = _read_all(answer)
    if refused:
        os.waitpid(init, 0)
        errno, step = refused.split(" ", 1)
        error = OSError(int(errno), os.strerror(int(errno)))
        raise error if step == "exec" else Refused(step, error)
    _let_go_of_inherited(ordering)
    return _wait_passing_signals(init, ordering)


def _read_all(fd: int) -> str:
    with os.fdopen(fd) as pipe:
        return pipe.read()


def _let_go_of_inherited(*needed: int) -> None:
    """A socket that CMD closes must be closed: no copy stays in the processes around it."""
    lowest = 3
    for fd in (*sorted(needed), os.sysconf("SC_OPEN_MAX")):
        os.closerange(lowest, fd)
        lowest = fd + 1


def _wait_passing_signals(init: int, ordering: int) -> int:
    while True:
        caught = int(signal.sigwait(_WAITED_FOR))
        if caught != signal.SIGCHLD:
            try:
                os.write(ordering, bytes([caught]))
            except BrokenPipeError:
                continue
        pid, status = os.waitpid(init, os.WNOHANG)
        if pid:
            return _exit_code(status)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _init(command: Sequence[str], keep: list[Path], orders: int, answering: int, outer: int) -> NoReturn:
    """Pid 1. It must never return into the caller's code, and never die of an exception unseen."""
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        furnish(keep)
        code = _init_furnished(command, orders, answering, outer)
    except Refused as refused:
        os.write(answering, f"{refused.errno} {refused.step}".encode())
        code = NOT_STARTED
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = NOT_STARTED
    finally:
        os._exit(code)


def _init_furnished(command: Sequence[str], orders: int, answering: int, outer: int) -> int:
    """Start CMD, then serve as init until it ends. Handlers only wake the loop: the numbers come through a pipe."""
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    child = os.fork()
    if not child:
        _exec(command, answering, outer)
    os.close(answering)
    _let_go_of_inherited(*sorted((orders, woken, waking)))
    signal.set_wakeup_fd(waking)
    for waited_for in _WAITED_FOR:
        signal.signal(waited_for, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
    direct: list[int] = []  # signals that came to init itself: they went to the whole group, so CMD has them too
    os.write(waking, bytes([signal.SIGCHLD]))  # CMD may have ended before the handlers stood
    while True:
        ready, _, _ = select.select((orders, woken), (), ())
        if woken in ready:
            numbers = os.read(woken, 64)
            direct += [number for number in numbers if number != signal.SIGCHLD]
            if signal.SIGCHLD in numbers and (code := _reap(child)) is not None:
                return code
        if orders in ready:
            passed_on = os.read(orders, 64)
            if not passed_on:  # the outer process is gone
                return 128 + signal.SIGKILL
            for number in passed_on:
                if _came_to_the_group(number, direct, woken, waking):
                    direct.remove(number)
                else:
                    os.kill(child, number)


def _came_to_the_group(number: int, direct: list[int], woken: int, waking: int) -> bool:
    """The kernel signals the members of a group one after the other: give the copy for init a moment to arrive."""
    if number not in direct and select.select((woken,), (), (), _GROUP_WAIT)[0]:
        for other in os.read(woken, 64):
            if other == signal.SIGCHLD:
                os.write(waking, bytes([other]))
            else:
                direct.append(other)
    return number in direct


def _reap(child: int) -> int | None:
    """Bury whoever died; CMD's exit code once it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == child:
            return _exit_code(status)
        if not pid:
            return None


def _exec(command: Sequence[str], answering: int, outer: int) -> NoReturn:
    """In CMD's process: undo what Python and the waiting did to signals, then become CMD."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        if os.environ.get("LISTEN_PID") == str(outer):
            os.environ["LISTEN_PID"] = str(os.getpid())
        os.execvp(command[0], list(command))
    except OSError as error:
        os.write(answering, f"{error.errno} exec".encode())
    finally:
        os._exit(NOT_STARTED)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab.enter", description="Run a command in a network, mounts and processes of its own."
    )
    parser.add_argument(
        "--keep", action="append", default=[], metavar="PATH", help="stays reachable although under /run"
    )
    parser.add_argument("command", nargs="+", metavar="CMD", help="after --")
    chosen = parser.parse_args(arguments)
    try:
        return enter(chosen.command, chosen.keep)
    except Refused as refused:
        from lab.lacks import refusal

        print(f"lab: cannot enter a lab here\n{refusal(refused)}", file=sys.stderr)
    except OSError as error:
        print(f"lab: {chosen.command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main())
