"""A browser without a window, a script or a style: it keeps cookies, follows and sends forms."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Protocol

import requests


class Served(Protocol):
    """Whatever has a page at its address."""

    @property
    def url(self) -> str: ...


@dataclass(kw_only=True)
class Page:
    """What a server answered to a person.

    Attributes:
        status: HTTP's.
        headers: Of the answer.
        text: The HTML as it came.
        tags: Every start tag, with its attributes.
        words: The text of it, one space between words.
    """

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: str = ""

    def links(self, containing: str = "") -> list[str]:
        """Return where its links lead."""
        found = [said.get("href") or "" for tag, said in self.tags if tag == "a"]
        return [one for one in found if containing in one]

    @property
    def form_token(self) -> str:
        """What its forms carry."""
        (token, *_) = re.findall(r'name="form_token" value="([0-9a-f]+)"', self.text)
        return str(token)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data.split()


class Person:
    """Somebody with a browser."""

    def __init__(self, server: Served) -> None:
        self.url = server.url
        self.session = requests.Session()

    def get(self, path: str, *, follow: bool = True) -> Page:
        """Open an address."""
        return _read(self.session.get(self.url + path, allow_redirects=follow, timeout=30))

    def post(self, path: str, **fields: str) -> Page:
        """Send a form; redirects are not followed."""
        return _read(
            self.session.post(self.url + path, data=fields, allow_redirects=False, timeout=30)
        )

    def sign_in(self, key: str, wanted: str = "/") -> Page:
        """Show a key; return the answer."""
        token = self.get("/login").form_token
        return self.post("/login", form_token=token, key=key, next=wanted)

    def cookies(self) -> Iterator[str]:
        """Yield the values that the browser keeps."""
        for cookie in self.session.cookies:
            yield cookie.value or ""


def _read(answer: requests.Response) -> Page:
    reader = _Reader()
    reader.feed(answer.text)
    return Page(
        status=answer.status_code, headers=answer.headers, text=answer.text, tags=reader.tags,
        words=html.unescape(" ".join(reader.words)),
    )  # fmt: skip
