"""A consumer that is a process of its own, to be stopped, continued and killed.

It joins, and from then on answers each line of its input with one line: `share` waits for a share and tells its
partitions, `commit N` commits position N for all of them, `ended` waits until others wait for them, `release` releases.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import structlog

from ingest.log.kafka import open_kafka_log

if TYPE_CHECKING:
    from ingest.log.kafka_group import KafkaGroup, KafkaShare


async def obey(group: KafkaGroup) -> None:
    """Answer line after line until there are no more."""
    share: KafkaShare | None = None
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        try:
            if words[0] == "share":
                share = await group.next_share()
                answer = " ".join(map(str, share.partitions))
            else:
                assert share is not None
                answer = await act(share, words)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to hear it
            answer = f"{type(error).__name__}: {error}"
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


async def act(share: KafkaShare, words: list[str]) -> str:
    """Do one thing with a share."""
    match words:
        case ["commit", position]:
            await share.commit(dict.fromkeys(share.partitions, int(position)))
        case ["ended"]:
            await share.ended.wait()
        case ["release"]:
            share.release()
    return words[0]


async def main(url: str, name: str) -> None:
    """Join under that name."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    log = await open_kafka_log(url)
    await obey(await log.join(name))
    await log.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
