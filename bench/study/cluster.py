# SPDX-License-Identifier: Apache-2.0
"""People side by side on Dask: processes of this machine, or a cluster that is there already. A worker that dies costs what it
was doing: Dask starts another and gives that task to whoever is free."""
import contextlib
import logging

from . import StudyError, work

try:
    import distributed
except ImportError as missing:  # reports are written without it
    distributed = missing


@contextlib.contextmanager
def connect(jobs, scheduler):
    """A client of the scheduler at this address, or of a cluster of `jobs` processes that ends with it. No time limit makes a
    worker dead: the machine may have slept."""
    if isinstance(distributed, ImportError):
        raise StudyError(f"{distributed}: pip install distributed (Debian: python3-distributed)")
    import dask
    settings = {"distributed.scheduler.worker-ttl": None, "distributed.worker.memory.terminate": False}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        if not scheduler:
            scheduler = stack.enter_context(distributed.LocalCluster(
                n_workers=jobs, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR))
        yield stack.enter_context(distributed.Client(scheduler))


def attempt(study, task, runs):
    """(what work.run_task returns, None), or (None, why it could not)."""
    try:
        return work.run_task(study, task, runs), None
    except (StudyError, OSError) as problem:
        return None, str(problem)


def run_all(study, todo, jobs, scheduler):
    """todo: (task, its pending runs). Yields (task, its runs, what work.run_task returns or None, why not or None) as they
    end."""
    with connect(jobs, scheduler) as client:
        futures = {client.submit(attempt, study, task, runs, pure=False): (task, runs) for task, runs in todo}
        for future in distributed.as_completed(futures):
            try:
                outcome = future.result()
            except distributed.scheduler.KilledWorker as death:  # of several workers, by this very task
                outcome = None, str(death)
            yield *futures.pop(future), *outcome
