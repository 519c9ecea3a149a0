"""Several processes that do the same at the same time."""

import argparse
import multiprocessing
import queue
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

#: Seconds; only a process that died keeps the others waiting.
PATIENCE = 120


def at_once(
    work: Callable[..., None],
    given: Any,
    options: argparse.Namespace,
    meanwhile: Callable[[int, float], str],
    every: float = 5,
) -> tuple[list[Any], float]:
    """Let ``options.processes`` processes do ``work(given, number, options, start, progress, results)`` from the same moment on,
    for ``options.seconds`` at most. ``meanwhile`` is called ``every`` so many seconds with the operations done and the seconds
    gone, and says what the progress line is to say.

    Returns what each put into ``results``, and the seconds that it took. No process is left behind, however it ends.
    """
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Barrier(options.processes + 1)
    done = [context.Value("q", 0, lock=False) for _ in range(options.processes)]
    processes = [
        context.Process(target=_obey, args=(work, given, number, options, start, done[number], results), daemon=True)
        for number in range(options.processes)
    ]
    found: list[Any] = []
    try:
        for each in processes:
            each.start()
        start.wait(PATIENCE)
        begin = time.monotonic()
        while len(found) < len(processes):
            try:
                found.append(results.get(timeout=every))
            except queue.Empty:
                count, took = sum(each.value for each in done), time.monotonic() - begin
                print(f"\r{meanwhile(count, took)} ", end="", file=sys.stderr, flush=True)
                if took > options.seconds + PATIENCE or not any(each.is_alive() for each in processes):
                    raise SystemExit("a process does not answer") from None
        took = time.monotonic() - begin
        print(file=sys.stderr)
    finally:
        for each in processes:
            if each.pid is not None:
                each.join(PATIENCE if len(found) == len(processes) else 0)
                each.kill()
                each.join()
    return found, took


def _obey(work: Callable[..., None], *arguments: Any) -> None:
    """Ctrl-C reaches all of the terminal's processes: the one that started these ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(*arguments)


def rate(count: int, of: int, took: float) -> str:
    """How far they are."""
    return f"{count} of {of}, {count / took:.0f} a second"
