"""The budget authority over HTTP: each tenant's own accounts and leases, for SDKs of any host."""

from .budget_routes import budget_routes
from .budget_words import BudgetsAnswer, amount_on_the_wire, unit_on_the_wire
from .budgets import BudgetPage, BudgetQuestion, BudgetRow, look_at_budgets
from .exceeding import Exceeding, charges_in
from .leases import DESCRIBED as LEASES_DESCRIBED
from .leases import routes
from .reading import JSON, problem_of, read_question
from .standing import Authorities

DESCRIBED = (*LEASES_DESCRIBED, BudgetsAnswer)
"""The words of these routes, for the API's description."""

__all__ = [
    "DESCRIBED",
    "JSON",
    "Authorities",
    "BudgetPage",
    "BudgetQuestion",
    "BudgetRow",
    "Exceeding",
    "amount_on_the_wire",
    "budget_routes",
    "charges_in",
    "look_at_budgets",
    "problem_of",
    "read_question",
    "routes",
    "unit_on_the_wire",
]
