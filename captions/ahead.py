"""Work ahead of a slow consumer: threads decode and preprocess while the device writes captions."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, limit: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` for every item, in order, computed in threads before it is asked for.

    `items` is read by the consumer's own thread, and never more than `limit` items beyond what has been
    yielded, so memory is bounded. What `function` raises is raised where its result would have been
    yielded. Closing the iterator drops what has not begun.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
