"""Who types docs/containers.md: each of its commands once, as it stands there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from support import ROOT
from support.containers.checkout import IMAGES, Checkout, compose_command
from support.pages import blocks

PAGE = "docs/containers.md"
#: What a command that a sentence names begins with, behind settings such as LOG_LEVEL=INFO.
_COMMAND = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:docker|docker-compose|make|hushgrid(?:-\w+)?|\S*\bpip) \S.*|\S+/\S+\.sh\b.*", re.DOTALL
)


def typed() -> list[str]:
    """Every command of the page, those of its sentences too, as they stand there without what is said behind them."""
    texts = [
        re.sub(r"\\\n\s*", "", block.text) for block in blocks(PAGE) if not block.path
    ]  # what is continued is one line
    lines = [re.sub(r"\s+# .*$", "", line) for text in texts for line in text.splitlines() if line]
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    named = [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", prose)]
    return list(dict.fromkeys([*lines, *(words for words in named if _COMMAND.fullmatch(words))]))


@dataclass(slots=True)
class Typist:
    """Types commands of the page in the checkout, each once: whoever asks again is told what it said then."""

    checkout: Checkout
    said: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A project and images of its own; the programs of the tests' environment, and docker-compose by this name."""
        shims = self.checkout.directory.parent / f"{self.checkout.directory.name}-programs"
        if compose_command() == ["docker", "compose"]:
            shims.mkdir(exist_ok=True)
            (shims / "docker-compose").write_text('#!/bin/sh\nexec docker compose "$@"\n', encoding="ascii")
            (shims / "docker-compose").chmod(0o755)
        path = os.pathsep.join((str(shims), str(Path(sys.executable).parent), os.environ["PATH"]))
        ours = {"COMPOSE_PROJECT_NAME": self.checkout.project, "IMAGES": IMAGES, "VENV": sys.prefix, "PATH": path}
        return {**os.environ, **ours}

    def begins(self, line: str, output: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """The command, running, in a process group of its own; AssertionError for one that is not on the page."""
        assert line in typed(), f"{PAGE} tells nobody to type {line}"
        into = output.open("w", encoding="utf-8") if output else subprocess.PIPE
        return subprocess.Popen(
            ["bash", "-c", line], cwd=self.checkout.directory, env={**self.environment, **environment}, text=True,
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=into, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def types(self, line: str, seconds: float = 1800) -> subprocess.CompletedProcess[str]:
        """What the command has said, both of its outputs in one, and its exit status."""
        if line not in self.said:
            began = time.monotonic()
            process = self.begins(line)
            try:
                output, _ = process.communicate(timeout=seconds)
            except BaseException:  # Ctrl-C too: it is in a group of its own
                os.killpg(process.pid, signal.SIGKILL)
                raise
            self.said[line] = subprocess.CompletedProcess(line, process.returncode, output)
            print(f"{time.monotonic() - began:6.1f} s  {line}")  # noqa: T201 - pytest -s shows it
        return self.said[line]
