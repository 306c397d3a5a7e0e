"""Makes HTML of templates, with the headers that keep a page to itself, and pages of errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from tollspan.server.problems import ProblemError, unavailable
from tollspan.usage import LedgerUnavailableError

from . import views
from .assets import ASSETS

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every page: nothing from elsewhere, no script or style in it, in nobody's frame or cache."""


class AwayError(Exception):
    """What is asked for is elsewhere: at `address`, of this server."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("tollspan.server.page"),
        autoescape=True,  # of everything, whatever a template is called
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known: dict[str, Any] = made.globals  # what is declared is what Jinja brings along
    known.update(asset=ASSETS.address, percent=views.percent)
    filters: dict[str, Any] = made.filters  # likewise
    filters.update(
        money=views.money, count=views.count, short=views.short, moment=views.moment,
        machine_time=views.machine_time, round_half=round, tenths=views.tenths,
        amount_of=views.amount,
        number_of=views.number,
    )  # fmt: skip
    return made


_TEMPLATES: Final = _environment()


def show(
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> HTMLResponse:
    """Return a page.

    Args:
        template: Its name, without its ending.
        status: HTTP's.
        headers: Beside those of every page.
        values: What the template shows.
    """
    text = _TEMPLATES.get_template(f"{template}.html").render(**values)
    return HTMLResponse(text, status, {**HEADERS, **(headers or {})})


def away(address: str) -> RedirectResponse:
    """Send the browser elsewhere on this server."""
    return RedirectResponse(address, 303, dict(HEADERS))


class PageRoute(APIRoute):
    """A route for people: what goes wrong is told on a page."""

    def get_route_handler(self) -> _Handler:
        """Return what answers requests."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except AwayError as error:
                return away(error.address)
            except ProblemError as error:
                return _problem(error.status, str(error), error.headers)
            except RequestValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"][1:])
                return _problem(400, f"{place}: {first['msg']}", {})
            except LedgerUnavailableError as error:
                said = unavailable(error)
                return _problem(said.status, "The ledger does not answer now.", said.headers)

        return handle


_TITLES: Final[Mapping[int, str]] = {
    400: "That can't be shown",
    403: "That is not for this key",
    404: "There is no such thing",
    429: "Too often",
    503: "The books can't be read now",
}


def _problem(status: int, message: str, headers: Mapping[str, str]) -> Response:
    title = _TITLES.get(status, "Something is wrong")
    return show("problem", status=status, headers=headers, title=title, message=message)
