"""Flows worth trying: of each kind some that may pass, for each reason that a model has, and some that may not."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from itertools import islice

from demo.document.model import Model, Vm, Wire
from demo.document.reading import NUMBERS, Attempt, Grant, Judgement, Message, Reading
from lab.frames import ECHO_REQUEST, ICMP, TCP, UDP

PER_KIND = 12
"""At most, of those that may pass and of those that may not."""
_PAIRS = 250
"""Source and destination pairs looked at, of one kind."""
_PING = Message(ICMP, ECHO_REQUEST << 8)
_UNNAMED = (Message(TCP, 22), Message(TCP, 3389), Message(UDP, 123), _PING)
_DHCP = (67, 68)


def sample(reading: Reading, vms: Iterable[Vm], seed: int = 1) -> list[Attempt]:
    """Between these VMs, and from outside to those that have an elastic IP. The same for the same model."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    vms = list(vms)
    elastic = [address for vm in vms if (address := reading.model.elastic_of(vm.id))]
    pairs = [(src.id, dst.ip) for src in vms for dst in vms if src is not dst]
    pairs += [(src.id, address) for src in vms for address in elastic]
    pairs += [(name, address) for name in reading.outsiders for address in elastic]
    chance.shuffle(pairs)
    chosen: dict[tuple[str, str], list[tuple[int, Attempt]]] = {}
    looked: dict[str, int] = {}
    for src, address in pairs:
        kind = _kind(reading, src, address)
        looked[kind] = looked.get(kind, 0) + 1
        if not kind or looked[kind] > _PAIRS:
            continue
        for why, nth, attempt in _of_pair(reading, src, address, chance):
            chosen.setdefault((kind, why), []).append((nth, attempt))
    return [attempt for kind in looked for attempt in _varied(kind, chosen)]


def towards(reading: Reading, sources: Iterable[str], address: IPv4Address) -> list[Attempt]:
    """Some of everything from these to one address."""
    chance = random.Random(1)  # noqa: S311 - no secret
    found = [one for src in sources for one in _of_pair(reading, src, address, chance)]
    found.sort(key=lambda each: each[1])
    admitted, refused = ([one for why, _, one in found if bool(why) is wanted] for wanted in (True, False))
    return [*admitted[:PER_KIND], *refused[:PER_KIND]]


def _kind(reading: Reading, src: str, address: IPv4Address) -> str:
    found = reading.judge(Attempt(src, address, _PING))
    return found.kind if found else ""


def _of_pair(
    reading: Reading, src: str, address: IPv4Address, chance: random.Random
) -> Iterator[tuple[str, int, Attempt]]:
    """Attempts with the reason why they may pass ("": they may not), and how many of that reason came before."""
    probed = reading.judge(Attempt(src, address, _PING))
    if probed is None:
        return
    messages = list(dict.fromkeys([*_messages(reading.model, probed.dst), *_UNNAMED]))
    chance.shuffle(messages)
    seen: Counter[str] = Counter()
    for message in messages:
        judged = reading.judge(Attempt(src, address, message))
        assert judged is not None
        why = _why(judged)
        yield why, seen[why], Attempt(src, address, message)
        seen[why] += 1


def _why(judged: Judgement) -> str:
    return "+".join(sorted({_reason(grant) for grant in judged.grants}))


def _reason(grant: Grant) -> str:
    if grant.rule is None:
        return "member"
    return "cidr" if "/" in grant.peer else "group"


def _messages(model: Model, dst: Vm) -> Iterator[Message]:
    """What the rules of its groups are about, whomever they name, and what is just beside it."""
    for group in sorted(dst.groups):
        for rule in model.ingress[group]:
            yield from _examples(rule)


def _examples(rule: Wire) -> Iterator[Message]:
    """Nothing that the lab's hosts could not send, or not get as what it is."""
    protocol: str | int = rule["protocol"]
    if protocol == "all":
        yield Message(TCP, 4444)
        return
    number = protocol if isinstance(protocol, int) else NUMBERS[protocol]
    if number in (TCP, UDP):
        first, last = rule.get("from_port", 0), rule.get("to_port", 65535)
        for port in (first, last, last + 1):
            if 0 < port < 65536 and not (number == UDP and port in _DHCP):
                yield Message(number, port)
    elif number != ICMP:
        yield Message(number)
    elif rule.get("icmp_type", ECHO_REQUEST) == ECHO_REQUEST:
        yield _PING


def _varied(kind: str, chosen: dict[tuple[str, str], list[tuple[int, Attempt]]]) -> Iterator[Attempt]:
    """Up to PER_KIND that may pass, of each reason as many, and as many that may not; of many pairs rather than of one."""
    ordered = {
        why: sorted(found, key=lambda each: each[0]) for (one, why), found in sorted(chosen.items()) if one == kind
    }
    reasons = [attempts for why, attempts in ordered.items() if why]
    in_turn = (attempts[n][1] for n in range(PER_KIND) for attempts in reasons if n < len(attempts))
    yield from islice(in_turn, PER_KIND)
    yield from (attempt for _, attempt in ordered.get("", [])[:PER_KIND])
