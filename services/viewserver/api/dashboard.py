"""`GET /`: the dashboard's files. They hold no data: the page asks for that with the token of its reader."""

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from viewserver.dashboard import ASSETS, HEADERS, PAGE


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE, headers=HEADERS)

    app.mount("/dashboard", _Assets(directory=ASSETS))
