"""Work that is done while the caller goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

__all__ = ["Background"]


class Background:
    """One thread for what need not be waited for, such as a disk; a piece after the other.

    As a context manager it ends once all is done.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Begin with this, once what was begun before is done.

        Raises:
            Exception: What the work of before has raised.
        """
        self.wait()
        self._last = self._thread.submit(work)

    def wait(self) -> None:
        """Wait until all is done.

        Raises:
            Exception: What the work has raised.
        """
        last, self._last = self._last, None
        if last:
            last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if not kind:  # what ended the caller's own work says more
            self.wait()
