"""The rules' document: read at the start, and watched."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from tollspan.budget import RuleSet, read_rules
from tollspan.usage import ConfigError

from ._settings import Settings, read_settings

_logger = logging.getLogger("tollspan.launch")


def with_rules(settings: Settings, rules: RuleSet) -> Settings:
    """Return the settings with what the rules' document says where the environment does not."""
    if settings.names_authority or rules.authority is None:
        return settings
    scheme, _, folder = rules.authority.partition(":")
    if scheme != "sqlite" or not folder:
        return msgspec.structs.replace(settings, authority=rules.authority)
    beside = Path() if settings.document is None else settings.document.parent
    home = (beside / Path(folder).expanduser()).absolute()
    return msgspec.structs.replace(settings, authority="sqlite:", ledger_home=home)


def settings_in_force() -> Settings:
    """Read the environment, and what the rules' document says beside it.

    Raises:
        ConfigError: Either is wrong.
    """
    settings = read_settings()
    if settings.document is None:
        return settings
    return with_rules(settings, read_rules(settings.document))


def ledger_home_in_force() -> Path:
    """Return the folder in which events are kept; rules that can't be read name none."""
    settings = read_settings()
    with contextlib.suppress(ConfigError):
        settings = settings_in_force()
    return settings.ledger_home


class RuleWatcher:
    """Puts a changed document in force; one that is wrong leaves the last good one there.

    Args:
        document: The file; None when there is none.
        use: Puts rules in force.
    """

    def __init__(self, document: Path | None, use: Callable[[RuleSet], None]) -> None:
        self._document = document
        self._use = use
        self._seen: tuple[int, int, int] | None = None
        self._authority: str | None = None

    def first(self) -> tuple[RuleSet, ConfigError | None]:
        """Read the rules at the start; a document that can't be read denies, since it may deny."""
        if self._document is None:
            return RuleSet(), None
        self._seen = self._stamp()
        try:
            rules = read_rules(self._document)
            self._authority = rules.authority
            return rules, None  # noqa: TRY300 - so much for good rules
        except ConfigError as error:
            _logger.error("tollspan's rules can't be used, calls are denied: %s", error)  # noqa: TRY400
            return RuleSet(source=str(self._document)), error

    def look(self) -> None:
        """Look once; called about once a second in the worker."""
        stamp = self._stamp()
        if stamp == self._seen or self._document is None or stamp is None:
            return
        self._seen = stamp
        try:
            rules = read_rules(self._document)
        except ConfigError as error:
            _logger.error("tollspan keeps its last good rules: %s", error)  # noqa: TRY400
            return
        if self._authority != rules.authority:
            _logger.warning("tollspan's authority changes when the program starts anew")
        self._use(rules)
        _logger.info("tollspan's rules were read anew from %s", self._document)

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._document is None:
            return None
        try:
            found = self._document.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
