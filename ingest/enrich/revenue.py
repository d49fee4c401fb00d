"""The step that reads amounts of money."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.enrich.columns import to_labels

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

TYPE = pa.decimal128(18, 4)
NOTHING = Decimal("0.0000")
LARGEST = Decimal("99999999999999.9999")


def add_revenue(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill revenue_amount and revenue_currency."""
    amounts, currencies = batch.distinct("revenue_amount"), batch.distinct("revenue_currency")
    numbers = pa.array([to_amount(text) for text in amounts.values], TYPE)
    return {
        "revenue_amount": numbers.take(pa.array(amounts.codes.astype(np.int32))),
        "revenue_currency": to_labels(currencies.values, currencies.codes),
    }


def to_amount(text: str) -> Decimal:
    """Give an amount with four decimals, half to even; 0 for none and for what the column cannot hold."""
    if not text:
        return NOTHING
    with localcontext() as context:
        context.prec = 60
        try:
            amount = Decimal(text).quantize(NOTHING)
        except InvalidOperation:
            return NOTHING
    return amount if amount.is_finite() and abs(amount) <= LARGEST else NOTHING
