"""`GET /v1/budgets`: how the budgets of a tenant stand, by the authority that holds their money."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented
from tollspan.server.questions import (
    UNATTRIBUTED,
    Text,
    read_cursor,
    wanted,
    write_cursor,
    wrong_cursor,
)
from tollspan.server.rules import RulesInForce
from tollspan.server.schemas import json_answer
from tollspan.usage import LedgerError

from .budget_words import BudgetsAnswer, budgets_answer
from .budgets import BudgetPage, BudgetQuestion, look_at_budgets
from .reading import answer, problem_of
from .standing import Authorities

_MOST_DIMENSIONS = 16
_LONGEST = 512


class BudgetParameters(BaseModel):
    """Which budgets are asked for."""

    model_config = ConfigDict(extra="forbid")

    budget: Text = Field(None, description="only the budget of this id")
    of: list[str] = Field(
        default=[],
        max_length=_MOST_DIMENSIONS,
        description="only parts of this owner, `customer:acme` say; may come again. "
        f"`customer:{UNATTRIBUTED}` is of calls that say none",
    )
    all: bool = Field(default=False, description="periods that are over, and traces, too")
    cursor: Text = Field(None, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=1_000, description="about how many")

    def question(self) -> BudgetQuestion:
        """Return what is asked.

        Raises:
            ProblemError: A value can't be one.
        """
        return BudgetQuestion(
            budget_id=self.budget,
            values=wanted(dict(map(_pair, self.of))),
            with_past=self.all,
            cursor="" if self.cursor is None else read_cursor(self.cursor),
            most=self.limit,
        )


def budget_routes(authorities: Authorities, rules: RulesInForce) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["budgets"])

    @router.get(
        "/budgets",
        responses={
            200: json_answer(BudgetsAnswer, "a page of budgets"),
            **documented(400, 401, 403, 409),
        },
    )
    def get_budgets(
        who: Annotated[Principal, Depends(require("read"))],
        asked: Annotated[BudgetParameters, Query()],
    ) -> Response:
        """Say how budgets stand: those of the rules in force, and all in which something counts."""
        page = _look(authorities, rules, who.tenant, asked)
        return answer(budgets_answer(page, write_cursor(page.cursor) if page.cursor else None))

    return router


def _look(
    authorities: Authorities, rules: RulesInForce, tenant: str, asked: BudgetParameters
) -> BudgetPage:
    question = asked.question()
    in_force = rules.of(tenant).rules
    try:
        return look_at_budgets(authorities.of(tenant), in_force, question)
    except LedgerError as error:
        raise problem_of(error) from None
    except ValueError:
        raise wrong_cursor() from None


def _pair(said: str) -> tuple[str, str]:
    dimension, colon, value = said.partition(":")
    if not (colon and dimension and value) or len(said) > _LONGEST:
        raise ProblemError(400, "query.of: expected a dimension and its value, `customer:acme` say")
    return dimension, value
