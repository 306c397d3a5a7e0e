"""The rules' document: read at the start, and watched."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tollspan.budget import RuleSet, is_asyncio, read_rules
from tollspan.exporter import rules_of, shown
from tollspan.usage import ConfigError

from ._settings import Settings, read_settings

if TYPE_CHECKING:
    from tollspan.exporter import Fetched, RuleFetcher

_COLD_START_SECONDS = 2.0
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
    if settings.document is None or (settings.rules_url and not settings.document.exists()):
        return settings  # rules that never came say nothing
    return with_rules(settings, read_rules(settings.document))


def ledger_home_in_force() -> Path:
    """Return the folder in which events are kept; rules that can't be read name none."""
    settings = read_settings()
    with contextlib.suppress(ConfigError):
        settings = settings_in_force()
    return settings.ledger_home


def fetcher_of(settings: Settings) -> RuleFetcher | None:
    """Return what fetches the rules; None where they are a file."""
    if settings.rules_url is None:
        return None
    from tollspan.exporter import RuleFetcher  # noqa: PLC0415 - only who goes by an address pays

    endpoint = settings.endpoint
    return RuleFetcher(
        settings.rules_url,
        settings.home,
        key=settings.api_key,
        may_have_none=endpoint is not None and settings.rules_url == rules_of(endpoint),
    )


def refresh_rules(settings: Settings) -> Fetched | None:
    """Have the copy of rules at an address brought up to date.

    Returns:
        What is known of them; None where the rules are a file, or nowhere.

    Raises:
        ConfigError: There is no copy, and none was to be had.
    """
    fetcher = fetcher_of(settings)
    if fetcher is None:
        return None
    fetcher.refresh()
    return fetcher.known()


def start_fetching(settings: Settings) -> RuleFetcher | None:
    """Fetch the rules from here on; a first start waits for them a little, but on no event loop."""
    fetcher = fetcher_of(settings)
    if fetcher is not None:
        asked = fetcher.start()
        is_cold = settings.document is None or not settings.document.exists()
        if is_cold and not is_asyncio():
            asked.wait(_COLD_START_SECONDS)
    return fetcher


class RuleWatcher:
    """Puts a changed document in force; one that is wrong leaves the last good one there.

    Args:
        settings: Name the document.
        use: Puts rules in force.
        refuse: Has calls refused until there are rules.
    """

    def __init__(
        self,
        settings: Settings,
        use: Callable[[RuleSet], None],
        refuse: Callable[[ConfigError], None],
    ) -> None:
        self._settings = settings
        self._document = settings.document
        self._use = use
        self._refuse = refuse
        self._seen: tuple[int, int, int] | None = None
        self._authority: str | None = None
        self._is_cold = False
        self._fetcher = start_fetching(settings)

    def first(self) -> tuple[RuleSet, ConfigError | None]:
        """Read the rules at the start; a document that can't be read denies, since it may deny."""
        if self._document is None:
            return RuleSet(), None
        self._seen = self._stamp()
        url = self._settings.rules_url
        if self._seen is None and url is not None:
            return self._start_cold(url)
        try:
            rules = read_rules(self._document)
            self._authority = rules.authority
            return rules, None  # noqa: TRY300 - so much for good rules
        except ConfigError as error:
            _logger.error("tollspan's rules can't be used, calls are denied: %s", error)  # noqa: TRY400
            return RuleSet(source=str(self._document)), error

    def _start_cold(self, url: str) -> tuple[RuleSet, ConfigError | None]:
        """Go without rules until they come: TOLLSPAN_COLD_START says how."""
        self._is_cold = True
        problem = ConfigError(f"the rules of {shown(url)} have not come yet")
        allows = self._settings.on_cold_start == "allow"
        done = "are not asked for" if allows else "are denied"
        _logger.warning("tollspan: %s: calls %s until they do", problem, done)
        return RuleSet(source=shown(url)), None if allows else problem

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
        if self._authority != rules.authority and not self._settings.names_authority:
            if self._is_cold:  # no budget of theirs is held where they say
                self._refuse(ConfigError("the rules name an authority: start the program anew"))
                return
            _logger.warning("tollspan's authority changes when the program starts anew")
        self._is_cold = False
        self._use(rules)
        _logger.info("tollspan's rules were read anew from %s", self._document)

    def after_fork_in_child(self) -> None:
        """Know that the thread that fetches is the parent's."""
        if self._fetcher is not None:
            self._fetcher.after_fork_in_child()

    def wake(self) -> None:
        """Do what a forked child has to do at its first call."""
        if self._fetcher is not None:
            self._fetcher.start()
        self.look()

    def close(self) -> None:
        """Fetch no more."""
        if self._fetcher is not None:
            self._fetcher.close()

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._document is None:
            return None
        try:
            found = self._document.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
