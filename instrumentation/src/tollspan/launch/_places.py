"""What settings say of places: files, folders, addresses, and who is asked there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tollspan.budget import SHARED_SCHEMES
from tollspan.exporter import copy_of, rules_of
from tollspan.usage import ConfigError

DOCUMENT = "tollspan.yaml"
RulesNamedBy = Literal[
    "TOLLSPAN_CONFIG", "the working folder", "TOLLSPAN_HOME", "TOLLSPAN_ENDPOINT", "nothing"
]
_HTTP = ("https://", "http://")
# A folder that nobody can make: no ledger opens there, and `on_unavailable` decides.
_NOWHERE = Path(os.devnull) / "tollspan"


class Places:
    """Reads places out of an environment; a wrong one is told, and its default is taken.

    Args:
        env: The environment.
        on_wrong: Is told.
    """

    def __init__(self, env: Mapping[str, str], on_wrong: Callable[[ConfigError], None]) -> None:
        self._env = env
        self._on_wrong = on_wrong

    def home(self) -> Path:
        """Return the folder of the ledger, absolute."""
        given = self.path("TOLLSPAN_HOME")
        if given is not None:
            return given
        try:
            return Path("~/.tollspan").expanduser().absolute()
        except (OSError, RuntimeError) as error:
            self._wrong(f"TOLLSPAN_HOME is not set, and there is no home folder ({error})")
            return _NOWHERE

    def file(self, variable: str, name: str, home: Path) -> Path | None:
        """Return the file that a variable names, else the one here or at home; None for neither."""
        given = self.path(variable)
        if given is not None:
            return given
        # A working folder that can't be entered (or is gone) was not meant: others', not ours.
        if os.path.isfile(name):  # it never raises
            return Path(name).absolute()
        there = home / name
        try:
            return there if there.is_file() else None
        except OSError:
            return there  # it may be there and deny: whoever reads it says why it can't be read

    def rules(
        self, home: Path, endpoint: str | None
    ) -> tuple[str | None, Path | None, RulesNamedBy]:
        """Return the rules' address, if they have one; their file, or copy; and who names them."""
        url = self.url("TOLLSPAN_CONFIG")
        file = None if url is not None else self.file("TOLLSPAN_CONFIG", DOCUMENT, home)
        named_by: RulesNamedBy = "TOLLSPAN_CONFIG"
        if not self.is_set("TOLLSPAN_CONFIG"):
            named_by = "TOLLSPAN_HOME" if file == home / DOCUMENT else "the working folder"
            if file is None:
                named_by = "nothing" if endpoint is None else "TOLLSPAN_ENDPOINT"
                url = None if endpoint is None else rules_of(endpoint)
        return url, file if url is None else copy_of(url, home), named_by

    def url(self, name: str) -> str | None:
        """Return an address over HTTP; None when there is none, but a path perhaps."""
        value = self._env.get(name, "").strip()
        if not value.lower().startswith(_HTTP):
            return None
        try:
            parts = urlsplit(value)
            is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_good = False
        if not is_good:
            self._wrong(f"{name} is no address; expected https://host/path")
        return value

    def endpoint(self) -> str | None:
        """Return the ingest server; None for none.

        Without a key it is the server all the same, and refuses: budgets that are kept there are
        not kept here for want of a key.
        """
        value = self._env.get("TOLLSPAN_ENDPOINT", "").strip()
        if not value:
            return None
        if not value.lower().startswith(_HTTP):
            self._wrong("TOLLSPAN_ENDPOINT is no address; expected https://host")
            return None
        if not self.is_set("TOLLSPAN_API_KEY"):
            self._wrong(
                "TOLLSPAN_ENDPOINT is set, and TOLLSPAN_API_KEY is not: nothing is sent, and no "
                "budget can be asked for"
            )
        self.url("TOLLSPAN_ENDPOINT")
        scheme, _, rest = value.partition(":")
        return f"{scheme.lower()}:{rest.rstrip('/')}"

    def key(self) -> str | None:
        """Return the key for whoever is asked over HTTP; it is in no message."""
        value = self._env.get("TOLLSPAN_API_KEY", "").strip()
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            self._wrong("TOLLSPAN_API_KEY is no key: it has characters that no header takes")
            return None
        return value or None

    def path(self, name: str) -> Path | None:
        """Return a path, absolute; None when it is not set."""
        value = self._env.get(name)
        if not value:
            return None
        try:
            return Path(value).expanduser().absolute()
        except (OSError, RuntimeError, ValueError) as error:
            self._wrong(f"{name} is {value!r}; expected a path ({error})")
            return _NOWHERE

    def is_set(self, name: str) -> bool:
        """Say whether a setting says anything."""
        return bool(self._env.get(name, "").strip())

    def authority(self, home: Path, endpoint: str | None) -> tuple[str, Path]:
        """Return who holds the money, the ingest server by default; and the ledger's folder."""
        default = endpoint or "sqlite:"
        value = self._env.get("TOLLSPAN_AUTHORITY", "").strip()
        if not value:
            return default, home
        scheme, _, rest = value.partition(":")
        if scheme == "sqlite":
            return "sqlite:", Path(rest).expanduser().absolute() if rest else home
        if scheme in SHARED_SCHEMES or value == "memory:":
            return value, home
        known = ", ".join(f"{name}://…" for name in SHARED_SCHEMES)
        self._wrong(
            f"TOLLSPAN_AUTHORITY begins with {scheme!r}; expected memory:, sqlite:, sqlite:FOLDER, "
            f"{known}"
        )
        return default, home

    def _wrong(self, text: str) -> None:
        self._on_wrong(ConfigError(text))
