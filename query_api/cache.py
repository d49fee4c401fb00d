"""Answers kept by question and by the version of every site that the question touches: so the cache is exact.

Nothing is ever taken out because it is old; an answer whose sites changed is just never found again and falls out at
the end. Each site has the same room, so a busy one does not empty the cache for the others.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query_api.question import Answer, Question
    from schemas.event import SiteId
    from schemas.versions import SiteVersions

Versions = tuple[int, ...]
ROWS_A_SITE = 20_000  # some 10 MB of rows at most
SITES = 200


class AnswerCache:
    """The answers of this process. Without `versions` (the consumer runs elsewhere) nothing is ever kept."""

    def __init__(self, versions: SiteVersions | None) -> None:
        self._versions = versions
        self._shelves: OrderedDict[SiteId, Shelf] = OrderedDict()

    def read_versions(self, question: Question) -> Versions | None:
        """Read before the warehouse is asked; None when an answer must not be kept."""
        versions = self._versions
        return None if versions is None else tuple(versions.of(site.id) for site in question.sites)

    def find(self, question: Question, versions: Versions | None) -> Answer | None:
        """The answer to this very question over these very versions."""
        shelf = self._shelves.get(question.sites[0].id)
        if versions is None or shelf is None:
            return None
        self._shelves.move_to_end(question.sites[0].id)
        return shelf.find((question, versions))

    def keep(self, question: Question, versions: Versions | None, answer: Answer) -> None:
        """Remember an answer that was read after `versions`."""
        if versions is None:
            return
        site = question.sites[0].id
        self._shelves.setdefault(site, Shelf()).keep((question, versions), answer)
        self._shelves.move_to_end(site)
        if len(self._shelves) > SITES:
            self._shelves.popitem(last=False)


class Shelf:
    """The answers of one site, the least recently used first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[Question, Versions], Answer] = OrderedDict()
        self._rows = 0

    def find(self, key: tuple[Question, Versions]) -> Answer | None:
        """The answer, which is now the most recently used."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def keep(self, key: tuple[Question, Versions], answer: Answer) -> None:
        """Put it in; what was used longest ago makes room."""
        replaced = self._answers.pop(key, None)
        self._rows += _weight(answer) - (_weight(replaced) if replaced else 0)
        self._answers[key] = answer
        while self._rows > ROWS_A_SITE:
            _, dropped = self._answers.popitem(last=False)
            self._rows -= _weight(dropped)


def _weight(answer: Answer) -> int:
    return 10 + len(answer.rows)
