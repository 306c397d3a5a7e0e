"""One key for the many spellings of a model's name, so that bills and events of it meet.

`gpt-4o-mini-2024-07-18` and `gpt-4o-mini`; `Claude Haiku 4.5`, `claude-haiku-4-5-20251001`,
`us.anthropic.claude-haiku-4-5-20251001-v1:0` and `Claude4.5Haiku`. A key names no model to anyone:
it is made of the same words, in one order.
"""

from __future__ import annotations

import re
from typing import Final

_FINE_TUNED: Final = re.compile(r"^ft[:-]([^:]+).*$")
_REVISION: Final = re.compile(r":[0-9]+$")
_SELLER: Final = re.compile(
    r"^(?:(?:us|eu|ap|apac|jp|au|ca|sa|global|us-gov)\.)?[a-z0-9]+\.(?=[a-z])"
)
_DATE: Final = re.compile(r"20[0-9]{2}-?[01][0-9]-?[0-3][0-9](?![0-9])")
_VERSION: Final = re.compile(r"\bv[0-9]+\b")
_POINT_ZERO: Final = re.compile(r"([0-9])\.0(?![0-9])")
_WORDS: Final = re.compile(r"[a-z]+|[0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SILENT: Final = frozenset({"latest"})


def model_key(name: str) -> str:
    """Return the key of a model's name; `""` for no name."""
    text = _CAMEL.sub("-", name.strip()).lower().rpartition("/")[2]
    tuned = _FINE_TUNED.match(text)
    if tuned is not None:
        text = f"ft-{tuned[1]}"
    text = _SELLER.sub("", _REVISION.sub("", text))
    text = _VERSION.sub("", _DATE.sub("", text))
    words = _WORDS.findall(_POINT_ZERO.sub(r"\1", text))
    return "-".join(sorted(word for word in words if word not in _SILENT))
