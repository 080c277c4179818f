"""Drives `everything --oauth-issuer` with the `mcp` client installed next to it.

    python oauth.py http://127.0.0.1:PORT/mcp

The client has no token and knows no issuer: it must find both by what the server says, as the SDK does it. Prints one JSON line
like client.py, and exits with 0 or 1.
"""

import sys
from typing import Any
from urllib.parse import parse_qs, urlparse

import anyio
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from support import STEP_SECONDS, VERSION, Report, describe, expect

try:
    import httpx2 as httpx
except ImportError:
    import httpx

BACK = "http://127.0.0.1:1/back"  # nobody listens there: the code is read from where the issuer sends the browser
SCOPE = "mcp"


class Memory(TokenStorage):
    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


class Browser:
    """A user who allows everything."""

    def __init__(self) -> None:
        self.query: dict[str, list[str]] = {}

    async def open(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(url, follow_redirects=False)
        self.query = parse_qs(urlparse(answer.headers["location"]).query)

    async def came_back(self) -> Any:
        code, state = self.query["code"][0], self.query.get("state", [None])[0]
        try:
            from mcp.client.auth import AuthorizationCodeResult
        except ImportError:
            return code, state  # 1.x
        return AuthorizationCodeResult(code=code, state=state)


async def echo(url: str, http: Any) -> str:
    arguments = {"message": "hi"}
    if VERSION.startswith("1."):
        from mcp import ClientSession

        async with streamable_http_client(url, http_client=http) as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                answer = await session.call_tool("echo", arguments)
    else:
        from mcp import Client

        async with Client(streamable_http_client(url, http_client=http)) as client:
            answer = await client.call_tool("echo", arguments)
    return answer.content[0].text


async def main(url: str) -> int:
    report, memory, browser = Report(), Memory(), Browser()
    metadata = OAuthClientMetadata(
        client_name="interop",
        redirect_uris=[BACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
        scope=SCOPE,
    )
    auth = OAuthClientProvider(
        server_url=url,
        client_metadata=metadata,
        storage=memory,
        redirect_handler=browser.open,
        callback_handler=browser.came_back,
    )
    try:
        with anyio.fail_after(STEP_SECONDS):
            async with httpx.AsyncClient(auth=auth, trust_env=False) as http:
                said = await echo(url, http)
        expect(said == "hi", f"echo says {said!r}")
        expect(memory.tokens.scope == SCOPE, f"the token is for {memory.tokens.scope!r}")
        report.add("token", True, "found the issuer, got a token, and was served")
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the step's result
        report.add("token", False, describe(error))
    return 0 if report.print() else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1]))
