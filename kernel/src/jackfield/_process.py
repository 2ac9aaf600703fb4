"""The process of a server: its event loop, which nothing that a plugin leaves behind keeps from ending."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from jackfield._kernel import HELPERS, LEFTOVERS, JackfieldKernel, log
from jackfield._life import SERVE


def run(kernel: JackfieldKernel, ready: Callable[[], None], fd: int | None = None) -> None:
    """Serve in this process's main thread until the server has ended.

    Neither a task nor a thread that does not end keeps this from returning.

    Args:
        kernel: The server, with its plugins loaded.
        ready: Called when clients can connect.
        fd: The descriptor of a listening socket that was handed over.
    """
    try:
        loop = import_module("uvloop").new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # For the `asyncio.to_thread` of plugins; asyncio would import what it needs in the middle of a call.
    executor = ThreadPoolExecutor(thread_name_prefix=HELPERS)
    loop.set_default_executor(executor)
    serving = loop.create_task(kernel.serve(ready, fd), name=SERVE)
    try:
        while not serving.done():
            try:
                loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as error:
                if serving.done():
                    raise
                log.exception("a task or a callback of a plugin raised %s; the server goes on", type(error).__name__)
    finally:
        _dismiss(executor)


def _dismiss(executor: ThreadPoolExecutor) -> None:
    """Let its threads end; those that do not within their time are left to who ends the process."""
    executor.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + LEFTOVERS
    for thread in threading.enumerate():
        if thread.name.startswith(HELPERS):
            thread.join(max(0.0, end - time.monotonic()))
