"""No sequence of requests makes the server answer 5xx or breaks an invariant; a refused one leaves nothing.

Requests are written to the socket byte by byte, so that nothing a client library would refuse is left untried.
"""

# ruff: noqa: E501 - one line for each case

import http.client
import json
import socket
from urllib.parse import quote, urlsplit

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import administer
from tests.integration.viewserver.process import process
from tests.property.random_network import FIRST, INSTANCES, NODES, PUBLIC, last_of, updates
from tests.property.test_checks import JSON, spoiled_anywhere
from tests.property.test_delta import spoiled
from viewserver.model.invariants import check_all
from viewserver.model.network import Network


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(postgres, tmp_path_factory):
    await administer(postgres, "CREATE DATABASE any_request OWNER verge TEMPLATE migrated")
    async with process(tmp_path_factory.mktemp("any"), postgres.url(database="any_request")) as found:
        yield found
        assert await found.terminate() == 0
        assert "unforeseen" not in found.log
        assert "Traceback" not in found.log


def ask(url, method, target, headers=(), body=b""):
    """(status, headers, body) of one request, which may be as malformed as bytes can be."""
    where = urlsplit(url)
    head = [f"{method} {target} HTTP/1.1", "Host: viewserver", "Connection: close"]
    head += [f"{name}: {value}" for name, value in headers]
    framed = any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers)
    if not framed:
        head.append(f"Content-Length: {len(body)}")
    # A request that announces more than it sends is waited for; its client goes away.
    with socket.create_connection((where.hostname, where.port), timeout=0.1 if framed else 30) as sock:
        try:
            sock.sendall("\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body)
            answer = http.client.HTTPResponse(sock, method=method)
            answer.begin()
            return answer.status, dict(answer.getheaders()), answer.read()
        except TimeoutError:
            assert framed, "no answer"
            return None, {}, b""
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            return None, {}, b""  # refused before it was read: as good a refusal as any


WORDS = st.sampled_from(
    ["", "network", "i-0", "sg-0", "nc-1", "zone-a", "203.0.113.1", "::1", "1", "0", "-1", "1.5", "true", "null", "*", "nan", "inf", "-inf", "1e400", "99999999999999999999", "9" * 5000, "'", "%", "\x00", "٣", "²", "\u202e", "𝔘", "..", "x" * 300, "+5", "1_0", " 1"]
)  # fmt: skip
TEXTS = WORDS | st.text(max_size=12)
SHORT = st.sampled_from(["0", "0.01", "nan", "inf0", "-1", "", "x", "1e-3", "0x1", "٠"])
IDS = st.sampled_from([*NODES, *INSTANCES, *PUBLIC, "sg-1", "zone-a", "nc-9"]) | TEXTS
COLLECTIONS = st.sampled_from(["zones", "nodes", "groups", "instances", "elastic_ips", "fences", "tokens", "updates", "withdrawals", "x"])  # fmt: skip


def part(text):
    return quote(text, safe="")


PATHS = st.one_of(
    st.sampled_from(
        [
            "/",
            "/v1/updates",
            "/v1/model",
            "/v1/network",
            "/v1/convergence",
            "/v1/nodes",
            "/v1/tokens",
            "/v1/fences",
            "/v1/explain",
            "/v1/diff",
            "/v1/lag",
            "/v1/happenings",
            "/metrics",
            "/healthz",
            "/readyz",
            "/docs",
            "/docs/assets/../../../etc/passwd",
            "/openapi.json",
            "//",
            "/v1//updates",
            "/v1/nodes/%2e%2e/view",
            "/%00",
            "/v1/updates/%00",
        ]
    ),
    st.builds(lambda collection, key: f"/v1/{collection}/{part(key)}", COLLECTIONS, IDS),
    st.builds(
        lambda node, what: f"/v1/nodes/{part(node)}/{what}", IDS, st.sampled_from(["view", "report", "history", ""])
    ),
    st.builds(lambda section: f"/v1/names/{part(section)}", COLLECTIONS),
    st.text(max_size=10).map(lambda text: "/" + part(text)),
)

QUERIES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["wait", "timeout"]), SHORT),
        st.tuples(st.sampled_from(["revision", "before", "limit", "quorum", "allow", "dry_run", "prune", "x"]), TEXTS),
        st.tuples(st.just("revision"), st.integers(0, 30).map(str)),
        st.just(("wait", "applied")),
        st.just(("dry_run", "true")),
    ),
    max_size=3,
).map(lambda pairs: "&".join(f"{name}={part(value)}" for name, value in [*pairs, ("timeout", "0")]))

# Each route that looks back or asks why, with its own parameters, so that most requests come as far as what they ask for.
ENDS = (
    st.sampled_from(
        [*NODES, *INSTANCES, *PUBLIC, "10.1.0.5", "8.8.8.8", "169.254.169.254", "0.0.0.0", "255.255.255.255"]
    )
    | TEXTS
)
NUMBERS = st.integers(0, 40).map(str) | TEXTS
TIMES = (
    st.sampled_from(
        [
            "2026-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "9999-12-31T23:59:59.999999Z",
            "2026-01-01",
            "0",
            "1e308",
            "-62135596800",
            "99999999999",
        ]
    )
    | TEXTS
)
PARAMETERS = {
    "/v1/explain": {"from": ENDS, "to": ENDS, "protocol": st.sampled_from(["tcp", "udp", "icmp", "132", "0", "255", "256"]) | TEXTS, "port": NUMBERS, "icmp_type": NUMBERS, "icmp_code": NUMBERS, "revision": NUMBERS},
    "/v1/diff": {"from": NUMBERS | TIMES, "to": NUMBERS | TIMES, "node": IDS},
    "/v1/model": {"revision": NUMBERS, "at": TIMES},
    "/v1/lag": {"minutes": NUMBERS},
    "/v1/happenings": {"node": IDS, "kind": st.sampled_from(["rejected", "silent"]) | TEXTS, "since": TIMES, "until": TIMES, "before": NUMBERS, "limit": NUMBERS},
    "/v1/names/instances": {"prefix": TEXTS, "limit": NUMBERS},
    "/v1/nodes/nc-1/history": {"at": TIMES, "before": TIMES, "limit": NUMBERS},
    "/v1/nodes/nc-1/view": {"revision": NUMBERS, "at": TIMES, "wait": SHORT},
    "/v1/updates": {"before": NUMBERS, "limit": NUMBERS, "actor": TEXTS, "object": TEXTS | IDS.map("instances/".__add__), "node": IDS, "since": TIMES, "until": TIMES, "values": st.sampled_from(["true", "x"])},
    "/v1/convergence": {"revision": NUMBERS, "wait": SHORT, "quorum": SHORT},
}  # fmt: skip


def asked(path):
    return st.lists(
        st.sampled_from(sorted(PARAMETERS[path])).flatmap(
            lambda name: st.tuples(st.just(name), PARAMETERS[path][name])
        ),
        max_size=5,
    ).map(lambda pairs: ("GET", path, "&".join(f"{name}={part(value)}" for name, value in pairs), [], b""))


LOOKING = st.sampled_from(sorted(PARAMETERS)).flatmap(asked)
EXPLAINED = st.builds(lambda source, destination, more: ("GET", "/v1/explain", f"from={part(source)}&to={part(destination)}{more}", [], b""), ENDS, ENDS, st.sampled_from(["", "&port=22", "&protocol=icmp", "&protocol=132", "&port=22&revision=3"]))  # fmt: skip

ETAGS = st.builds(lambda epoch, version, digest: f'"{epoch}.{version}-{digest}"', st.integers(0, 3), st.integers(0, 40), st.sampled_from(["0" * 32, "f" * 32]))  # fmt: skip
VALUES = TEXTS | ETAGS | st.integers(-1, 40).map(lambda number: f'"{number}"')
LINE = VALUES.map(lambda text: "".join(letter for letter in text if letter not in "\r\n"))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "If-Match",
                "Idempotency-Key",
                "If-None-Match",
                "Verge-Applied",
                "A-IM",
                "Content-Type",
                "Accept",
                "Content-Length",
                "Transfer-Encoding",
                "Expect",
                "Content-Encoding",
                "Range",
                "Cookie",
                "X-Forwarded-For",
            ]
        ),
        LINE | st.sampled_from(["verge-delta", "chunked", "gzip", "100-continue", "application/xml"]),
    ),
    max_size=2,
)

REPORTS = st.fixed_dictionaries(
    {"applied": st.none() | st.fixed_dictionaries({"etag": ETAGS | TEXTS}), "state": st.sampled_from(["applied", "degraded", "rejected", "pinned"])},
    optional={
        "attempted": st.fixed_dictionaries({"etag": ETAGS}),
        "failures": st.lists(st.fixed_dictionaries({"object": TEXTS, "stage": TEXTS, "reason": TEXTS}) | JSON, max_size=2),
        "instances": st.dictionaries(TEXTS, st.sampled_from(["ready", "quarantined"]), max_size=2) | JSON,
        "sequence": st.integers() | JSON,
        "agent": st.fixed_dictionaries({"version": TEXTS, "boot_id": TEXTS}) | JSON,
        "timings_ms": st.dictionaries(TEXTS, st.floats() | st.integers(), max_size=2) | JSON,
        "kernel_digest": TEXTS,
        "sessions_cut": st.integers(),
        "x": JSON,
    },
)  # fmt: skip
TOKENS = st.fixed_dictionaries({"role": st.sampled_from(["cloud", "node"]) | TEXTS}, optional={"node": IDS, "name": TEXTS, "x": JSON})  # fmt: skip


def dumped(value):
    return json.dumps(value).encode()


ANY_BODY = st.one_of(
    updates.map(lambda operations: dumped({"operations": operations})),
    spoiled_anywhere().map(lambda operations: dumped({"operations": operations})),
    REPORTS.map(dumped),
    TOKENS.map(dumped),
    JSON.map(dumped),
    st.binary(max_size=40),
    st.integers(1, 2000).map(lambda depth: b'{"operations": [{"op": "put", "kind": "zone", "id": "z", "value": {"x": ' + b"[" * depth + b"]" * depth + b"}}]}"),
)  # fmt: skip

POSTED = st.tuples(st.just("POST"), st.just("/v1/updates"), QUERIES, HEADERS, ANY_BODY)
GOOD = updates.map(lambda operations: ("POST", "/v1/updates", "", [], dumped({"operations": operations})))
REPORTED = st.tuples(st.just("PUT"), st.sampled_from(sorted(NODES)).map(lambda node: f"/v1/nodes/{node}/report"), st.just(""), HEADERS, REPORTS.map(dumped))  # fmt: skip
# The whole network at once, with anything at all in some of its places, as JSON and as Eucalyptus writes it.
WHOLE = last_of([FIRST]).to_wire()
DOCUMENTS = [
    "<network-data/>",
    "<network-data><instances><instance name='i-1'/></instances></network-data>",
    "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    "Mode: EDGE\nPublicIps: [1.2.3.4]\n",
    "a: &a [*a]",
    "InstanceDnsServers: {}",
]
IMPORTED = st.tuples(
    st.just("PUT"),
    st.sampled_from(["/v1/model", "/v1/network"]),
    st.sampled_from(["", "prune=true", "force=true", "prune=true&force=true", "dry_run=true"]),
    st.sampled_from(["application/json", "application/xml", "application/yaml", "text/plain"]).map(
        lambda kind: [("Content-Type", kind)]
    ),
    spoiled(WHOLE).map(dumped) | st.sampled_from(DOCUMENTS).map(str.encode) | ANY_BODY,
)
PATCHED = st.tuples(
    st.just("PATCH"),
    st.just("/v1/model"),
    st.lists(
        st.sampled_from(["prune=true", "force=true", "dry_run=true", "max_nodes=1", "max_loss=10%25", "max_nodes=x", "max_loss=%D9%A3"]),
        max_size=2,
    ).map("&".join),
    HEADERS,
    spoiled(WHOLE).map(dumped)
    | st.builds(lambda section, key, value: dumped({section: {key: value}}), COLLECTIONS, IDS, st.none() | JSON)
    | ANY_BODY,
)  # fmt: skip
ANYTHING = st.tuples(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "BREW", "get"]), PATHS, QUERIES, HEADERS, ANY_BODY)  # fmt: skip
SEQUENCES = st.lists(
    st.one_of(GOOD, POSTED, REPORTED, IMPORTED, PATCHED, LOOKING, EXPLAINED, ANYTHING), min_size=3, max_size=12
)


def network_of(model):
    objects = {("network", "network"): model["network"]} if model["network"] else {}
    for name, found in model.items():
        if isinstance(found, dict) and name != "network":
            objects |= {(name.removesuffix("s"), key): value for key, value in found.items()}
    return Network.from_objects(objects)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    sequence=SEQUENCES,
    authorization=st.sampled_from(["right"] * 12 + ["", "Bearer", "Bearer x", "Basic eA==", "Bearer \xff"]),
)
def test_whatever_is_asked_the_answer_is_below_500_and_the_network_is_whole(served, sequence, authorization):
    admin = [("Authorization", f"Bearer {served.token}")]
    caller = admin if authorization == "right" else [("Authorization", authorization)]

    def model():
        status, _, body = ask(served.url, "GET", "/v1/model", admin)
        assert status == 200
        return json.loads(body)

    before = model()
    if not before["nodes"]:
        assert ask(served.url, "POST", "/v1/updates", admin, dumped({"operations": FIRST}))[0] == 200
        before = model()
    for method, path, query, headers, body in sequence:
        status, found, text = ask(served.url, method, f"{path}?{query}" if query else path, [*caller, *headers], body)
        assert status is None or 200 <= status < 500, text
        after = model()
        if status is None or status >= 400:
            assert after == before
            if found.get("content-type", "").startswith("application/problem+json") and text:
                problem = json.loads(text)
                assert problem["status"] == status
                assert all(one["pointer"] == "" or one["pointer"].startswith("/") for one in problem.get("errors", ()))
        else:
            assert after["revision"] - before["revision"] in (0, 1)
            assert (after["revision"] == before["revision"]) == (after == before)
        if authorization != "right":
            assert after == before
        before = after
    assert check_all(network_of(before)) == []
