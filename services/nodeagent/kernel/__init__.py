"""Everything that needs CAP_NET_ADMIN, and nothing else: it does what a plan says and says what the kernel holds.

I/O: netlink sockets, libnftables, files below /proc/sys. Decides nothing. All of it speaks to the network namespace of the
thread that opened it.

    KernelRefused       a request was turned down; the words are the kernel's or libnftables'
    ├─ Absent           what it refers to is not there
    ├─ Exists           what it makes is there already
    ├─ TooLong          the request is longer than this process may send
    └─ Unsettled        somebody else keeps changing what was to be read or changed
"""


class KernelRefused(Exception):
    """The kernel turned a request down and did nothing of it."""


class Absent(KernelRefused):
    pass


class Exists(KernelRefused):
    pass


class TooLong(KernelRefused):
    pass


class Unsettled(KernelRefused):
    pass


def refusal(text: str) -> KernelRefused:
    """The error for these words of the kernel's (strerror(3))."""
    for words, kind in (("No such file or directory", Absent), ("File exists", Exists), ("Message too long", TooLong)):
        if words in text:
            return kind(text)
    return KernelRefused(text)
