"""The options of `tollspan config`."""

from __future__ import annotations

from . import _arguments
from ._parser import Parser

# Whom a call may be for, beside tags: those of `tollspan.budget`, of which the tests see it.
OWNER_OPTIONS = (
    "customer", "session", "user", "agent", "feature", "step", "team", "project", "service",
    "environment",
)  # fmt: skip


def add_config(parser: Parser) -> None:
    """Add `config` and its actions."""
    config = parser.add_command(
        "config", "check tollspan.yaml, prices.yaml and the settings; explain what they do"
    )
    _add_check(config)
    _add_explain(config)
    config.add_command(
        "schema",
        "print the JSON Schema of tollspan.yaml, or of an event",
        does="_config:schema",
        examples="  tollspan config schema > tollspan.schema.json\n",
    ).add_argument(
        "--event", action="store_true", help="that of one line of `tollspan events --json`"
    )


def _add_check(config: Parser) -> None:
    check = config.add_command(
        "check",
        "say what the rules mean, all that is wrong with them, and what is odd",
        does="_config:check",
        examples="  tollspan config check\n"
        "  tollspan config check deploy/tollspan.yaml\n"
        "  tollspan config check --json | jq -r '.findings[] | \"\\(.line): \\(.text)\"'\n",
    )
    check.add_argument(
        "file", nargs="?", metavar="FILE",
        help="the rules' document (default: the one in force, and prices.yaml and the settings)",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="one JSON object")


def _add_explain(config: Parser) -> None:
    explain = config.add_command(
        "explain",
        "say which budgets would count a call, why, and whether it would be let through now",
        does="_explain:explain",
        examples="  tollspan config explain --model gpt-4o --customer acme --max-output 500\n"
        "  tollspan config explain --tool web_search --tag tier=free --json\n",
    )
    explain.add_argument("--model", metavar="NAME", help="its name, or provider/name")
    explain.add_argument("--tool", metavar="NAME", help="a tool's name, in place of a model")
    explain.add_argument(
        "--provider", metavar="NAME", help="as in gen_ai.provider.name (default: the model's maker)"
    )
    explain.add_argument(
        "--operation", metavar="NAME", default="chat",
        help="as in gen_ai.operation.name (default: chat)",
    )  # fmt: skip
    explain.add_argument(
        "--max-output", type=_arguments.count, metavar="N",
        help="the call's own limit of output tokens (default: it has none)",
    )  # fmt: skip
    explain.add_argument(
        "--input-bytes", type=_arguments.count, default=0, metavar="N",
        help="UTF-8 bytes of what is sent (default: 0)",
    )  # fmt: skip
    for name in OWNER_OPTIONS:
        explain.add_argument(
            f"--{name}", metavar="NAME",
            help=f"the {name} that the call is for (default: as the settings here say)",
        )  # fmt: skip
    explain.add_argument(
        "--tag", type=_arguments.tag, action="append", default=[], metavar="NAME=VALUE",
        help="a tag of the call (may be repeated)",
    )  # fmt: skip
    explain.add_argument(
        "--config", metavar="FILE", help="the rules' document (default: the one in force)"
    )
    explain.add_argument(
        "--at", type=_arguments.moment, metavar="WHEN", help="when it starts (default: now)"
    )
    explain.add_argument("--json", action="store_true", help="one JSON object")
