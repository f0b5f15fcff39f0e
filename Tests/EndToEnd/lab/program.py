"""The agent's program: where it is, and one call of its command line."""

import json
import os
import subprocess

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FIXTURES = os.path.join(REPOSITORY, "Tests", "EndToEnd")


def agent():
    """The built agent: what KAIROS_AGENT names, else the release build."""
    path = os.environ.get("KAIROS_AGENT") or os.path.join(REPOSITORY, ".build", "release", "kairos-agent")
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(
            f"{path} is not there: scripts/build makes it, or KAIROS_AGENT names another one"
        )
    return os.path.abspath(path)


def call(*arguments, seconds=10):
    """Runs the agent with these arguments to its end; returncode, stdout and stderr as text."""
    return subprocess.run([agent(), *arguments], capture_output=True, text=True, timeout=seconds)


def new_token():
    """A fresh network token that never rotates."""
    done = call("p2p", "token", "generate")
    if done.returncode != 0:
        raise RuntimeError(f"p2p token generate ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def status(*arguments, seconds=5):
    """The status document, or None when the agent does not answer."""
    try:
        done = call("p2p", "status", "-o", "json", *arguments, seconds=seconds)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None
