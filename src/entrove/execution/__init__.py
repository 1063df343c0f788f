"""Where work runs: on this machine, in Slurm jobs, or where the user's own Parsl takes it.

Labels, trainings and explorations use the same settings and the same workers. Read in this order::

    settings.py          the keys `executor` of a configuration
    checks.py            can an executor be used from this machine?
    pool.py              WorkerPool starts Parsl, and sends tasks to its workers
    parsl_config.py      what Parsl is told: this machine, Slurm, or the user's own configuration
    parsl_providers.py   how Parsl starts its pools of workers: child processes or Slurm jobs
    watchdog.py          a program around each local pool, which ends it with the campaign
    process_tree.py      ends a process with all that it started
    program.py           a program with a folder of its own: how it is started, and its end
    running.py           programs here or in workers, followed until they end

A program is work of minutes to hours with files in one folder, from which it continues after an
interruption. Only its folder's name goes to the worker, so all machines must see the same files.
"""
