"""Regular expressions are the engine's (RE2): it is asked whether it takes them before it is asked anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.question import InvalidQuestionError, Problem
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from query_api.question import Question
    from schemas.warehouse.client import Limits, Warehouse

REFUSED = "CANNOT_COMPILE_REGEXP"


async def refuse_patterns(question: Question, warehouse: Warehouse, limits: Limits) -> None:
    """Raise InvalidQuestionError naming each pattern that the engine does not take."""
    patterns = [value for one in question.conditions if one.operator == "=*" for value in one.values]
    refused = [pattern for pattern in patterns if not await _is_pattern(pattern, warehouse, limits)]
    if refused:
        message = "filters: {!r} is not a regular expression of RE2"
        raise InvalidQuestionError(tuple(Problem("filters", message.format(pattern)) for pattern in refused))


async def _is_pattern(pattern: str, warehouse: Warehouse, limits: Limits) -> bool:
    try:
        await warehouse.query("SELECT match(materialize(''), {pattern:String})", {"pattern": pattern}, limits)
    except WarehouseError as error:
        if REFUSED in str(error):
            return False
        raise
    return True
