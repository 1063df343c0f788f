"""How long from `pip install` to the first picked structure, and to the first tuned model?

Hypothesis: a newcomer with two cores has the first picked structure within 15 minutes of typing
`pip install`, and the first tuned model within 20.

A wheel is built from the tree, and installed with pip, without its cache, into a fresh environment
outside of the repository. There the commands of docs/how-to/quick.md are run, with a Python that
sees nothing of the repository; a file of the campaign counts from when it is there.

    python benchmarks/demo/first_hour.py [FOLDER]

The folder is kept; without one, a temporary folder is used and removed.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from results_file import write_result

ROOT = Path(__file__).parents[2]
EXTRAS = "all"
PACKAGES = ("ase", "numpy", "parsl", "plotly", "scipy", "sevenn", "torch", "torch-sim-atomistic")
MILESTONES = {
    "first_picked_structures": "round-01/selected.xyz",
    "first_tuned_model": "round-01/training/member-0/result.json",
    "second_tuned_model": "round-02/training/member-0/result.json",
    "model_that_is_kept": "model",
    "report": "report.html",
}
"""Files of a campaign, and what they mean; the result of a training is its last file."""


def main(folder: Path) -> None:
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = str(environment / "bin/pip")
    build = [pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, env=bare(), check=True)
    wheel = next((folder / "dist").glob("*.whl"))

    load = os.getloadavg()
    began, used = time.monotonic(), processor_seconds()
    install = [pip, "install", "--quiet", "--no-cache-dir", f"{wheel}[{EXTRAS}]"]
    spent = {"pip_install": seconds_of(install, folder)}
    entrove = str(environment / "bin/entrove")
    spent["doctor"] = seconds_of([entrove, "doctor"], folder)
    spent["init"] = seconds_of([entrove, "init", "demo", "--size", "quick", "--yes"], folder)
    run_began = time.monotonic()
    reached = watch([entrove, "run", "demo"], folder)
    spent["run"] = time.monotonic() - run_began
    write_result(
        __file__,
        "first_hour",
        "first picked structure within 900 s of 'pip install', first tuned model within 1200 s",
        {
            "seconds_of_each_command": rounded(spent),
            "seconds_of_run_until": rounded({k: at - run_began for k, at in reached.items()}),
            "seconds_since_pip_install_until": rounded(
                {k: at - began for k, at in reached.items()}
            ),
            "processor_s": round(processor_seconds() - used),
            "load_average_at_start": load,
            "installed": versions_in(environment),
            "installed_MB": size_of(environment) // 1_000_000,
        },
        extras=EXTRAS,
        threads=os.environ.get("OMP_NUM_THREADS", "not set"),
    )


def bare() -> dict[str, str]:
    """The variables of this process, without what leads Python into the repository."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def seconds_of(command: list[str], folder: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=bare(), check=True)
    return time.monotonic() - began


def watch(command: list[str], folder: Path) -> dict[str, float]:
    """Run a campaign, and return when each milestone was there."""
    campaign, reached = folder / "demo/campaign", {}
    with (folder / "run.log").open("w") as log:
        run = subprocess.Popen(command, cwd=folder, env=bare(), stdout=log, stderr=log)
        ended = False
        while not ended:
            ended = run.poll() is not None  # one look after the end
            for name, file in MILESTONES.items():
                if name not in reached and (campaign / file).exists():
                    reached[name] = time.monotonic()
            time.sleep(0.2)
    if run.returncode:
        sys.exit(f"{' '.join(command)} ended with {run.returncode}; see {folder / 'run.log'}")
    return reached


def versions_in(environment: Path) -> dict[str, str]:
    """Versions that pip has chosen: the newest ones, not those of requirements.lock."""
    ask = (
        "import importlib.metadata as metadata, json;"
        f"print(json.dumps({{name: metadata.version(name) for name in {PACKAGES}}}))"
    )
    said = subprocess.run(
        [str(environment / "bin/python"), "-c", ask],
        env=bare(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout)


def processor_seconds() -> float:
    """Of all commands that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in seconds.items()}


def size_of(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        kept = Path(sys.argv[1]).resolve()
        kept.mkdir(parents=True)
        main(kept)
    else:
        temporary = Path(tempfile.mkdtemp(prefix="entrove-first-hour-"))
        try:
            main(temporary)
        finally:
            shutil.rmtree(temporary)
