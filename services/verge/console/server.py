"""The view server, asked over HTTP: one kept connection, every wait with a limit, every failure a ConsoleError.

https trusts what the system trusts, or SSL_CERT_FILE. Proxies from the environment are not used: a view server is reached
directly, and one on 127.0.0.1 must not be asked for through somebody else.
"""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from verge.console.outcome import Fault, Misused, Refused, Unauthorised, Unreachable

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
ANSWER_S = 120.0
"""For the largest import; whoever asks to be held adds to it."""


@dataclass(frozen=True, slots=True)
class Address:
    base: str
    """What httpx takes."""
    socket: str | None
    """The path of a unix socket that leads there."""

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.base

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`http(s)://HOST[:PORT][/PREFIX]`, `HOST:PORT` or `unix:PATH`. Raises Misused."""
        text = text.strip()
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path or "\0" in path:
                raise Misused(f"the URL {text!r} names no socket: unix:PATH")
            return cls("http://verge", path)
        if "://" not in text:
            text = f"http://{text}"
        if re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(/[^?#\s]*)?", text) is None:
            raise Misused(f"the URL {text!r} is none: http://HOST:PORT, https://HOST or unix:PATH (--url, VERGE_URL)")
        return cls(text.rstrip("/"), None)


class Server:
    def __init__(self, address: Address, token: str | None) -> None:
        """Raises Misused for a token that cannot be one."""
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise Misused("the token holds characters that no token has: is it the right file? (--token-file)")
        self.address = address
        self._token = token
        self._kept: httpx.Client | None = None

    def get(self, path: str, *, hold_s: float = 0.0, answer_s: float = ANSWER_S, **params: str | float | None) -> Any:
        """`hold_s`: how long the server may hold the request before it answers. Raises ConsoleError."""
        return self.ask("GET", path, params=params, hold_s=hold_s, answer_s=answer_s)

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | float | None] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        hold_s: float = 0.0,
        answer_s: float = ANSWER_S,
    ) -> Any:
        """The answer's JSON; None where it has no body. Parameters that are None are left out. Raises ConsoleError."""
        import httpx

        try:
            response = self._client().request(
                method,
                path,
                params={name: value for name, value in (params or {}).items() if value is not None},
                headers=headers,
                content=content,
                timeout=httpx.Timeout(answer_s + hold_s, connect=min(CONNECT_S, answer_s)),
            )
        except (httpx.RequestError, httpx.InvalidURL, ssl.SSLError) as failed:
            raise self._unreachable(failed) from failed
        return self._read(response)

    def events(self, since: int | None, silence_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """`GET /v1/events`: each event's name and body, until the server ends the stream; `since`: the last revision heard of.

        Silence above `silence_s` counts as a broken connection. Raises ConsoleError.
        """
        import httpx

        headers = {"accept": "text/event-stream"} | ({} if since is None else {"last-event-id": str(since)})
        timeout = httpx.Timeout(silence_s, connect=CONNECT_S)
        try:
            with self._client().stream("GET", "/v1/events", headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    self._read(response)
                name = ""
                for line in response.iter_lines():
                    field, _, text = line.partition(": ")
                    if field == "event":
                        name = text
                    elif field == "data":
                        yield name, json.loads(text)
        except (httpx.RequestError, httpx.InvalidURL, ssl.SSLError) as failed:
            raise self._unreachable(failed) from failed
        except ValueError:
            raise Unreachable(f"what answers at {self.address} is no view server (--url, VERGE_URL)") from None

    def _client(self) -> "httpx.Client":
        import httpx

        if self._kept is None:
            verify = ssl.create_default_context() if self.address.base.startswith("https:") else False
            transport = httpx.HTTPTransport(verify=verify, uds=self.address.socket)
            headers = {"accept": "application/json", "user-agent": "verge"}
            if self._token:
                headers["authorization"] = f"Bearer {self._token}"
            self._kept = httpx.Client(base_url=self.address.base, headers=headers, transport=transport, trust_env=False)
        return self._kept

    def _unreachable(self, failed: Exception) -> Unreachable:
        import httpx

        received = True
        match failed:
            case httpx.ConnectTimeout():
                why, received = f"does not take a connection within {CONNECT_S:.0f} s", False
            case httpx.ConnectError():
                why, received = f"cannot be connected to ({failed})", False
            case httpx.TimeoutException():
                why = "did not answer in time"
            case httpx.RequestError():
                why = "broke the connection before it answered"
            case _:
                why = f"cannot be asked ({failed})"
        return Unreachable(
            f"the view server at {self.address} {why}: is it running there? (--url, VERGE_URL)", received=received
        )

    def _read(self, response: "httpx.Response") -> Any:
        try:
            body = response.json() if response.content else None
        except ValueError:
            body = None
            if response.is_success:
                raise Unreachable(f"what answers at {self.address} is no view server (--url, VERGE_URL)") from None
        if response.is_success:
            return body
        problem = body if isinstance(body, dict) and "detail" in body else None
        detail = str(problem["detail"]) if problem else f"{response.status_code} {response.reason_phrase}".strip()
        match response.status_code:
            case 401 if self._token is None:
                raise Unauthorised(f"the view server at {self.address} wants a token: VERGE_TOKEN or --token-file FILE")
            case 401:
                raise Unauthorised(f"the view server at {self.address} does not take this token: {detail}")
            case 403:
                raise Unauthorised(detail)
            case status if problem is None and status < 500:
                raise Unreachable(f"what answers at {self.address} is no view server: {detail} (--url, VERGE_URL)")
            case status if status >= 500:
                raise Unreachable(f"the view server at {self.address} cannot serve this now: {detail}")
            case status:
                raise Refused(status, detail, _faults(problem or {}), problem)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _faults(problem: Mapping[str, Any]) -> tuple[Fault, ...]:
    found = problem.get("errors")
    return tuple(
        Fault(str(one.get("pointer", "")), str(one.get("message", "")))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    )
