"""The JSON Schemas of `tollspan.yaml` and of a line of `tollspan events --json`, made from code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec

from tollspan.budget import (
    ALLOW_UP_TO,
    ANCHORED,
    ASSIGN_KEYS,
    BUDGET_KEYS,
    CLAMP_KEYS,
    CLAMP_MINIMUM_TOKENS,
    DEFAULTS_KEYS,
    DOCUMENT_KEYS,
    EVERY,
    IDLE_KEYS,
    LOOP_KEYS,
    MOST_REPEATS,
    NO_OWN_UNITS,
    ON_EXCEED_KEYS,
    OWN_UNIT,
    OWNERS,
    PLAN_KEYS,
    PLAN_NAME,
    POLICY_KEYS,
    POLICY_RULES,
    ROLLING_KEYS,
    SHARED_SCHEMES,
    SUBJECTS,
    TRACE,
    TURN,
    UNIT_WORDS,
    WINDOW_KEYS,
    BoundKind,
    OnExceed,
    OnUnavailable,
    OnUnbounded,
    OnUnboundedInput,
    OnUnpriced,
    OnViolation,
)
from tollspan.usage import SECONDS

from ._event_line import ChargeLine, EventLine

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, object]


# Digits with `,` and `_` between, no more of them than the largest limit has.
def _whole(digits: int) -> str:
    return rf"(0[_,]*)*([0-9][_,]*){{1,{digits}}}"


def _largest(digits: int) -> str:
    return rf"(0[_,]*)*1[_,]*(0[_,]*){{{digits}}}(\.0+)?"


_USD = rf"({_whole(9)}(\.[0-9]{{1,9}}0*)?|{_largest(9)})\s*USD"
_COUNT = rf"({_whole(15)}(\.0+)?|{_largest(15)})\s*"
_SECONDS = rf"({_whole(12)}(\.[0-9]{{1,3}}0*)?|{_largest(12)})\s*seconds?"
_WORDS = "|".join(word for word, unit in UNIT_WORDS.items() if unit not in ("usd", SECONDS))
_OWN = rf"(?!({'|'.join((*NO_OWN_UNITS, SECONDS, 'second'))})\s*$){OWN_UNIT}"


def _amount(words: str) -> Schema:
    """Return the schema of an amount whose unit is USD, seconds, or one of these."""
    return {"type": "string", "pattern": rf"^\s*({_USD}|{_SECONDS}|{_COUNT}({words}))\s*$"}


def config_schema() -> Schema:
    """Return the schema of the rules' document.

    It accepts what the parser accepts, but for what no schema can say: that ids are unique,
    that a key is written once, that there is such a day, and that `limits` are in the unit of
    `limit` and for dimensions of `per`, and that there is such a plan.
    """
    return {
        "$schema": _DRAFT,
        "$id": "urn:tollspan:config:v1",
        "title": "tollspan.yaml",
        "description": "Budgets for calls to models, and what happens where they can't decide.",
        **_object(DOCUMENT_KEYS, _DOCUMENT, needed=("version",)),
    }


def event_schema() -> Schema:
    """Return the schema of one line of `tollspan events --json`."""
    found = msgspec.json.schema(EventLine)
    lines: Schema = found["$defs"]
    for kind in (EventLine, ChargeLine):
        _describe(kind, cast("dict[str, Any]", lines[kind.__name__]))
    return {"$schema": _DRAFT, "$id": "urn:tollspan:event:v1", **found}


def _describe(kind: type[msgspec.Struct], schema: dict[str, Any]) -> None:
    """Put what a docstring says of each field beside the field."""
    head, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    schema["description"] = " ".join(head.split())
    for entry in re.split(r"\n(?! {8})", attributes):
        names, colon, text = entry.strip().partition(": ")
        for name in _names(names, kind.__struct_fields__) if colon else ():
            schema["properties"][name]["description"] = " ".join(text.split())


def _names(written: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Read `a, b`, or `a … d` for all from the one to the other."""
    first, between, last = written.partition(" … ")
    if between:
        return fields[fields.index(first) : fields.index(last) + 1]
    return tuple(written.split(", "))


def _object(keys: Iterable[str], properties: Schema, *, needed: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a mapping with the keys that the parser knows, and no others."""
    found: Schema = {
        "type": "object",
        "properties": {key: properties[key] for key in keys},
        "additionalProperties": False,
    }
    return {**found, "required": list(needed)} if needed else found


def _one_or_many(item: Schema, *, least: int = 0) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": least}]}


def _choice(choices: Iterable[str], default: str, text: str) -> Schema:
    return {"enum": list(choices), "default": default, "description": text}


_ALLOWANCE: Schema = {
    ALLOW_UP_TO: {
        "description": "What all processes together may spend then beside each limit: a share of "
        "it, or an amount. Each process is granted its slice beforehand.",
        "type": ["string", "number"],
        "examples": ["5%", "2 USD"],
    }
}
_DEFAULTS: Schema = {
    "on_unavailable": {
        "description": "Calls in a budget, while the ledger can't answer.",
        "default": "deny",
        "anyOf": [
            {"enum": list(get_args(OnUnavailable))},
            _object((ALLOW_UP_TO,), _ALLOWANCE, needed=(ALLOW_UP_TO,)),
        ],
    },
    "on_unbounded": _choice(
        get_args(OnUnbounded), "model_max", "Calls without a limit on their output."
    ),
    "on_unbounded_input": _choice(
        get_args(OnUnboundedInput), "window", "Calls whose input no count of bytes bounds."
    ),
    "on_unpriced": {
        "enum": list(get_args(OnUnpriced)),
        "description": "Models without a price. Without it: `ceiling` on hosts that are known to "
        "be the provider's own, `allow` elsewhere.",
    },
}
_EVERY = _choice((*EVERY, TRACE), EVERY[0], "When the budget starts anew; by the clock of UTC.")
_TIMEZONE: Schema = {
    "description": "Whose hours, days, weeks and months: an IANA name.",
    "type": "string",
    "default": "UTC",
    "minLength": 1,
}
_PLAIN_WINDOW: Schema = {
    "every": {"enum": [*EVERY, TRACE], "description": "How long a period is."},
    "timezone": _TIMEZONE,
}
_ANCHORED_WINDOW: Schema = {
    "every": {
        "description": "How long a period is.",
        "anyOf": [
            {"enum": list(ANCHORED)},
            {"type": "string", "pattern": "^[1-9][0-9]{0,3} days?$"},
        ],
    },
    "timezone": _TIMEZONE,
    "anchor": {
        "description": "A day on which a period begins; a month without it begins on its last day.",
        "type": "string",
        "format": "date",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    },
}
# Up to 86,400 s, 1,440 m or 24 h, as the parser has it.
_DAY = (
    r"^(([1-9][0-9]{0,3}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2}|86400)\s*s"
    r"|([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)\s*m"
    r"|([1-9]|1[0-9]|2[0-4])\s*h)$"
)
# 1 second to 90 days.
_STRETCH = (
    r"^(([1-9][0-9]{0,5}|[1-6][0-9]{6}|7[0-6][0-9]{5}|77[0-6][0-9]{4}|777[0-5][0-9]{3}|7776000)\s*s"
    r"|([1-9][0-9]{0,4}|1[0-1][0-9]{4}|12[0-8][0-9]{3}|129[0-5][0-9]{2}|129600)\s*m"
    r"|([1-9][0-9]{0,2}|1[0-9]{3}|20[0-9]{2}|21[0-5][0-9]|2160)\s*h"
    r"|([1-9]|[1-8][0-9]|90)\s*d)$"
)
_ROLLING_WINDOW: Schema = {
    "rolling": {
        "description": "Any stretch of time as long as this, whenever it begins: `60s`, `5m`, "
        "`24h` or `30d`, 90d at most.",
        "type": "string",
        "pattern": _STRETCH,
    }
}
# 10 seconds to 24 hours.
_IDLE = _DAY.replace("[1-9][0-9]{0,3}|[1-7]", "[1-9][0-9]{1,3}|[1-7]", 1)
_IDLE_WINDOW: Schema = {
    "idle": {
        "description": "Until its owner, a session say, made no call for so long: `30m`, "
        "10s to 24h.",
        "type": "string",
        "pattern": _IDLE,
    }
}
_TAG = r"^tag\.[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_WHOM: Schema = {"anyOf": [{"enum": list(OWNERS)}, {"type": "string", "pattern": _TAG}]}
_TEXT: Schema = {"type": ["string", "number", "boolean"]}
_PATTERN: Schema = {**_TEXT, "minLength": 1, "not": {"const": "!"}}
_LIMIT: Schema = {
    "description": "An amount such as `49.50 USD`, `50000 tokens`, `100 calls` or `20 images`.",
    **_amount(f"{_WORDS}|{_OWN}"),
}
_ONE_VALUE: Schema = {**_TEXT, "minLength": 1, "pattern": r"^[^*?\[]*$"}
_CLAMP: Schema = {
    "minimum": {
        "description": "Least output tokens of an answer; below it the call is refused.",
        "type": ["integer", "string"],
        "pattern": "^[1-9][0-9]{0,8}$",
        "default": CLAMP_MINIMUM_TOKENS,
        "minimum": 1,
        "maximum": 999_999_999,
    },
}
_EXCEEDING: Schema = {
    "reroute": {
        "description": "Have the call go out with another model: glob to the model's name.",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"minLength": 1},
        "additionalProperties": {**_TEXT, "minLength": 1, "maxLength": 512},
    },
    "clamp": {
        "description": "Have the call write no more than there is room for.",
        **_object(CLAMP_KEYS, _CLAMP),
    },
}
_PART = r"^\s*((?!0+(\.0+)?\s*%)[0-9]{1,2}(\.[0-9]{1,7})?\s*%|0?\.(?!0+\s*$)[0-9]{1,9})\s*$"
_ID: Schema = {
    "description": "Unique in the document.",
    "type": ["string", "integer"],
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
    "minimum": 0,
}
_BUDGET: Schema = {
    "id": _ID,
    "limit": _LIMIT,
    "limits": {
        "description": "Limits of single values of what divides the budget, in the same unit.",
        "anyOf": [
            {
                "type": "object",
                "propertyNames": {"minLength": 1, "pattern": r"^[^*?\[]*$"},
                "additionalProperties": _LIMIT,
            },
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"limit": _LIMIT},
                    "propertyNames": {"anyOf": [{"const": "limit"}, _WHOM]},
                    "additionalProperties": _ONE_VALUE,
                    "required": ["limit"],
                    "minProperties": 2,
                },
            },
        ],
    },
    "window": {
        "description": "When the budget starts anew.",
        "anyOf": [
            _EVERY,
            _object(_PLAIN_WINDOW, _PLAIN_WINDOW, needed=("every",)),
            _object(WINDOW_KEYS, _ANCHORED_WINDOW, needed=("every", "anchor")),
            _object(ROLLING_KEYS, _ROLLING_WINDOW, needed=ROLLING_KEYS),
            _object(IDLE_KEYS, _IDLE_WINDOW, needed=IDLE_KEYS),
        ],
    },
    "per": {
        "description": "By whose values the budget is divided: one account for each.",
        "anyOf": [_WHOM, {"type": "array", "items": _WHOM, "uniqueItems": True}],
    },
    "where": {
        "description": "What a call must be to be counted: a glob for each key, or a list of them; "
        "`!` before one leaves out what matches it.",
        "type": "object",
        "propertyNames": {"anyOf": [{"enum": [*SUBJECTS, *OWNERS]}, {"pattern": _TAG}]},
        "additionalProperties": _one_or_many(_PATTERN, least=1),
    },
    "on_exceed": {
        "description": "What becomes of a call that does not fit.",
        "default": "deny",
        "anyOf": [
            {"enum": [word for word in get_args(OnExceed) if word != "reroute"]},
            {**_object(ON_EXCEED_KEYS, _EXCEEDING), "minProperties": 1},
        ],
    },
    "bound": _choice(
        get_args(BoundKind),
        "strict",
        "What is held for a call: the most that it can use, or what calls like it used.",
    ),
    "finish_reserve": {
        "description": "Share of the limit that is kept for calls that the program marks as "
        "finishing.",
        "anyOf": [
            {"type": "string", "pattern": _PART},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        ],
    },
    "cooldown": {
        "description": "How long an owner is refused once a call was: `60s`, `5m`, 24h at most.",
        "type": "string",
        "pattern": _DAY,
    },
    "warn_at": {
        "description": "Shares of the limit at which somebody is told, once in each period.",
        **_one_or_many({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    },
    "message": {"description": "What a refusal tells the program's user.", **_TEXT},
    "upgrade_url": {"description": "Where that user may get more.", **_TEXT},
}
_BUDGETS: Schema = {
    "type": "array",
    "items": {
        **_object(BUDGET_KEYS, _BUDGET, needed=("id", "limit")),
        "dependentRequired": {"limits": ["per"]},
        # Units of tools' own go with the names of tools.
        "if": {
            "properties": {"where": {"type": "object", "required": ["tool"]}},
            "required": ["where"],
        },
        "else": {"properties": {"limit": _amount(_WORDS)}},
    },
}
_PLAN: Schema = {"description": "A plan's name.", **_TEXT}
_ASSIGNMENT: Schema = {"plan": _PLAN, "anchor": _ANCHORED_WINDOW["anchor"]}


def _conditions(text: str, *, least: int = 0) -> Schema:
    return {
        "description": text,
        "type": "object",
        "propertyNames": {"anyOf": [{"enum": [*SUBJECTS, *OWNERS]}, {"pattern": _TAG}]},
        "additionalProperties": _one_or_many(_PATTERN, least=1),
        "minProperties": least,
    }


def _dimensions(text: str, item: Schema, *, least: int = 1) -> Schema:
    many = {"type": "array", "items": item, "uniqueItems": True, "minItems": least}
    return {"description": text, "anyOf": [item, many]}


def _whole_number(text: str) -> Schema:
    return {"description": text, "type": "integer", "minimum": 0, "maximum": 999_999}


_LOOP: Schema = {
    "repeats": {
        "description": "So many calls that are alike are let through.",
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_REPEATS,
    },
    "within": {
        "description": "In any stretch of time as long as this: `60s`, `5m` or `1h`, 24h at most.",
        "type": "string",
        "pattern": _DAY,
    },
    "of": _dimensions(
        "What they have in common; nothing, and all calls are alike.",
        {"anyOf": [{"enum": [TURN, *SUBJECTS, *OWNERS]}, {"type": "string", "pattern": _TAG}]},
        least=0,
    ),
}
_POLICY: Schema = {
    "id": _ID,
    "where": _conditions("What a call must be for the policy to be for it: globs for each key."),
    "allow": _conditions("What calls must be, each key of them: globs.", least=1),
    "deny": _conditions("What calls must not be, none of the keys: globs.", least=1),
    "kill": {"description": "No call is let through.", "type": "boolean", "default": False},
    "require": _dimensions("Of what a call must say something.", _WHOM),
    "most_cost": {
        "description": "The most that one call may cost, by its bound: `0.50 USD` say.",
        "type": "string",
        "pattern": rf"^\s*{_USD}\s*$",
    },
    "most_in_flight": _whole_number("The most calls that may be under way in one process."),
    "per": _dimensions(
        "By whose values calls in flight are counted apart.",
        {"anyOf": [{"enum": [*SUBJECTS, *OWNERS]}, {"type": "string", "pattern": _TAG}]},
    ),
    "most_depth": _whole_number("How deep agents may be nested around a call."),
    "loop": {
        "description": "How many calls may be alike.",
        **_object(LOOP_KEYS, _LOOP, needed=LOOP_KEYS),
    },
    "on_violation": _choice(
        get_args(OnViolation), "deny", "What becomes of a call that is not as it should be."
    ),
    "message": {"description": "What a refusal tells the program's user.", **_TEXT},
    "upgrade_url": {"description": "Where that user may get more.", **_TEXT},
}
_DOCUMENT: Schema = {
    "version": {"enum": [1, "1"], "description": "The document's format."},
    "authority": {
        "description": "Who holds the money, where TOLLSPAN_AUTHORITY does not say it.",
        "type": "string",
        "pattern": f"^memory:$|^sqlite:|^({'|'.join(SHARED_SCHEMES)})://",
    },
    "defaults": _object(DEFAULTS_KEYS, _DEFAULTS),
    "budgets": _BUDGETS,
    "plans": {
        "description": "Budgets that customers have together, by the plan's name.",
        "type": "object",
        "propertyNames": {"pattern": f"^{PLAN_NAME}$"},
        "additionalProperties": _object(PLAN_KEYS, {"budgets": _BUDGETS}, needed=PLAN_KEYS),
    },
    "assign": {
        "description": "Customer to plan; `*` is everybody else. `anchor` is a day on which the "
        "customer's billing period begins.",
        "type": "object",
        "propertyNames": {"anyOf": [{"const": "*"}, {"minLength": 1, "pattern": r"^[^*?\[]*$"}]},
        "additionalProperties": {
            "anyOf": [_PLAN, _object(ASSIGN_KEYS, _ASSIGNMENT, needed=("plan",))]
        },
    },
    "policies": {
        "description": "What calls may be, and for whom, whatever they cost.",
        "type": "array",
        "items": {
            **_object(POLICY_KEYS, _POLICY, needed=("id",)),
            "anyOf": [{"required": [key]} for key in POLICY_RULES],
            "dependentRequired": {"per": ["most_in_flight"]},
        },
    },
    "hosts": {
        "description": "Host, or host:port, to the provider that answers there.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
}
