"""The reference of the command line is made of its parser, and is current."""

from __future__ import annotations

import pytest

import cli_page
from tollspan.cli import make_parser

PAGE = cli_page.PAGE.read_text()


def test_the_page_is_current() -> None:
    assert cli_page.page() == PAGE, "run scripts/cli_page.py"


@pytest.mark.parametrize("name", make_parser().commands)
def test_every_command_says_what_it_is_for(name: str) -> None:
    command = make_parser().commands[name]
    for one in (command, *command.commands.values()):
        assert one.description
        assert one.epilog or one.commands
        assert [offer.dest for offer in one.offers if not offer.help] == []
