"""Several hosts (host): how they find each other, which of them writes, and what a person reads when one is lost.

Every host runs the same program. Each reads the data, plans the same batches and feeds its own devices their part;
gradients are summed over all devices. The first host alone writes, besides checkpoints, to which all contribute.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn, get_args

import jax
import numpy as np
from jax._src import distributed  # its store is what Orbax uses, too; JAX has no public way to it
from jax.experimental import multihost_utils

from curriculum_rec.errors import CurriculumRecError, OptionError, RunError
from curriculum_rec.training.interrupt import Interrupted

How = Literal["auto", "slurm", "env"]

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
"""What ``env`` reads: HOST:PORT of the first process, how many there are, and which one this is, from 0."""

TIMEOUT_SECONDS = 60
"""How long a host waits for the others to begin or to end."""

BEAT_SECONDS, LOST_AFTER_SECONDS = 2, 30
"""How often a host gives a sign of life, and after which silence the others take it for lost."""

_ALIVE = "curriculum_rec/alive"


def join(how: str | None) -> None:
    """Join the other hosts of this run; to be called before anything else touches a device.

    Args:
        how: ``env`` reads the variables of :data:`VARIABLES`, ``slurm`` those that SLURM sets, ``auto`` takes what JAX
            finds (SLURM, Open MPI, Kubernetes, Cloud TPU); None runs on this host alone.

    Raises:
        OptionError: There is no such way, or what it needs is not set.
        RunError: The others do not come.
    """
    if how is None:
        return
    if how not in get_args(How):
        raise OptionError(f"distributed={how}: it must be null or one of {', '.join(get_args(How))}")
    # Without this, JAX ends the process itself when another one is lost, with a page of its internals.
    jax.config.update("jax_enable_recoverability", True)
    address, count, number = _variables() if how == "env" else (None, None, None)
    try:
        jax.distributed.initialize(
            address,
            count,
            number,
            cluster_detection_method="slurm" if how == "slurm" else None,
            initialization_timeout=TIMEOUT_SECONDS,
            heartbeat_timeout_seconds=TIMEOUT_SECONDS,
            shutdown_timeout_seconds=TIMEOUT_SECONDS,
        )
    except (ValueError, KeyError) as error:
        raise OptionError(f"distributed={how}: no such cluster is found here ({_first_line(error)})") from error
    except RuntimeError as error:
        raise RunError(f"distributed={how}: the hosts did not find each other ({_first_line(error)})") from error


def _variables() -> tuple[str, int, int]:
    found = [os.environ.get(name, "") for name in VARIABLES]
    if missing := [name for name, value in zip(VARIABLES, found, strict=True) if not value]:
        raise OptionError(f"distributed=env: {', '.join(missing)} is not set")
    address, count, number = found
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
        raise OptionError(
            f"distributed=env: JAX_NUM_PROCESSES={count} and JAX_PROCESS_ID={number} must be numbers, the latter from "
            "0 and below the former"
        )
    return address, int(count), int(number)


def is_several() -> bool:
    """Whether this run is on more than one host."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this host is the one that writes."""
    return jax.process_index() == 0


def fetch(array: jax.Array | np.ndarray) -> np.ndarray:
    """Copy a whole array to this host; of one that is spread over hosts, all of them have to ask."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        return multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


def all_agree(said: bool) -> bool:
    """Whether every host says yes; all of them have to ask."""
    return bool(multihost_utils.process_allgather(np.array(said)).all()) if is_several() else said


@contextmanager
def together() -> Iterator[None]:
    """Do something that may fail on one host only, and fail on all of them if it does.

    Raises:
        RunError: Another host failed, and has said why.
    """
    problem: BaseException | None = None
    try:
        yield
    except Exception as error:
        problem = error
        raise
    finally:
        if is_several():
            failed = multihost_utils.process_allgather(np.array(problem is not None))
            if failed.any():
                _part()
            if problem is None and failed.any():
                others = ", ".join(str(number) for number in np.flatnonzero(failed))
                raise RunError(f"process {others} of this run could not begin; its own message says why")


@contextmanager
def company(run: str) -> Iterator[None]:
    """Train in company: end clearly when another host is lost, and together when all are done.

    Args:
        run: The run's folder, for the message.
    """
    if not is_several():
        yield
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(run, done), daemon=True).start()
    try:
        yield
        _part()
    except (CurriculumRecError, Interrupted):  # the same on all hosts
        _part()
        raise
    except (RuntimeError, ValueError) as error:  # what JAX makes of a connection that broke
        _leave(run, _first_line(error))
    finally:
        done.set()


def _watch(run: str, done: threading.Event) -> None:
    """End this host when another one gives no sign of life, wherever it may wait: a barrier would wait much longer."""
    client: Any = distributed.global_state.client
    me, last = jax.process_index(), {number: ("", time.monotonic()) for number in range(jax.process_count())}
    beat = 0
    while not done.wait(BEAT_SECONDS):
        beat += 1
        try:
            client.key_value_set(f"{_ALIVE}/{me}", str(beat), allow_overwrite=True)
            seen = {int(key.rpartition("/")[2]): value for key, value in client.key_value_dir_get(_ALIVE)}
        except RuntimeError as error:
            if not done.is_set():
                _leave(run, _first_line(error))
            return
        now = time.monotonic()
        for number, (value, since) in last.items():
            if seen.get(number, "") != value:
                last[number] = seen[number], now
            elif now - since > LOST_AFTER_SECONDS and not done.is_set():
                _leave(run, f"process {number} has been silent for {LOST_AFTER_SECONDS} s")


def _part() -> None:
    """Wait until all are done, then let the others go before the first, whose end they would take for a loss."""
    multihost_utils.sync_global_devices("the run is done")
    if is_first():
        time.sleep(1)
    jax.distributed.shutdown()


def _leave(run: str, reason: str) -> NoReturn:
    """End at once: JAX would wait for the lost process."""
    print(
        f"curriculum-rec: error: process {jax.process_index()} lost another process of this run ({reason}); what was "
        f"saved is whole: continue with 'curriculum-rec resume run={run}' on any number of hosts",
        file=sys.__stderr__,
        flush=True,
    )
    os._exit(1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().split("\n") or [""])[0][:200]
