"""The rules' document: read at the start, and watched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tollspan.budget import RuleSet, read_rules
from tollspan.usage import ConfigError

_logger = logging.getLogger("tollspan.launch")


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

    def first(self) -> tuple[RuleSet, ConfigError | None]:
        """Read the rules at the start; a document that can't be read denies, since it may deny."""
        if self._document is None:
            return RuleSet(), None
        self._seen = self._stamp()
        try:
            return read_rules(self._document), None
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
