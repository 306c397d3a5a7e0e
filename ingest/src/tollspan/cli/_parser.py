"""The parser of the command line: argparse with one-line errors, and a record of what it offers."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any, NoReturn, Protocol, cast


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which says what it has: the reference is made of it.

    Options are never abbreviated, so that a new one breaks no script.

    Attributes:
        offers: Its options and arguments, in order.
        commands: The parsers of its commands, by name.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.offers: list[argparse.Action] = []
        self.commands: dict[str, Parser] = {}
        self._adder: _Adder | None = None
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an option or an argument."""
        action = super().add_argument(*args, **kwargs)
        self.offers.append(action)
        return action

    def add_command(
        self, name: str, text: str, *, does: str | None = None, examples: str = "", **kwargs: Any
    ) -> Parser:
        """Add a command.

        Args:
            name: Its name.
            text: What it does, for people: a sentence without its full stop.
            does: `module:function` of this package, imported when it is run; None for a group.
            examples: Lines for the end of its help.
            **kwargs: As in `ArgumentParser`.
        """
        if self._adder is None:
            metavar = "ACTION" if " " in self.prog else "COMMAND"
            self._adder = self.add_subparsers(required=True, metavar=metavar, parser_class=Parser)
        epilog = f"examples:\n{examples.rstrip()}" if examples else None
        description = f"{text[0].upper()}{text[1:]}."
        added = self._adder.add_parser(
            name, help=text, description=description, epilog=epilog, **kwargs
        )
        if does is not None:
            added.set_defaults(does=does)
        self.commands[name] = added
        return added

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and exit with 2."""
        self.exit(2, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


class _Adder(Protocol):
    """What argparse gives to add commands to."""

    def add_parser(self, name: str, **kwargs: Any) -> Parser: ...


def run(parsed: argparse.Namespace) -> int:
    """Run the command that was chosen; return its exit code."""
    module, _, name = cast("str", parsed.does).partition(":")
    code: int = getattr(import_module(f".{module}", __package__), name)(parsed)
    return code
