"""Every variable of ours that the documentation names does something."""

from __future__ import annotations

from pathlib import Path

from tollspan.launch import SETTINGS, read_settings


class Noting(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, **given: str) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # the plain half of it
        self.asked.add(name)
        return super().get(name, default)


def test_every_variable_of_ours_that_is_documented_is_read(tmp_path: Path) -> None:
    environ = Noting(
        TOLLSPAN_HOME=str(tmp_path),
        TOLLSPAN_BAGGAGE="both",
        TOLLSPAN_BAGGAGE_SECRET="sixteen characters and more",
    )
    read_settings(environ)
    ours = {setting.name for setting in SETTINGS if setting.name.startswith("TOLLSPAN_")}
    assert len(ours) > 10
    assert ours - environ.asked == set()
