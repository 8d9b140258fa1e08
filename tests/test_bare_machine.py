"""The two commands of the README on a bare machine: a Debian 12 with git, make and python3, and nothing else of ours.

`AZQUACK_TEST_MIRROR` is a mirror of Debian, `AZQUACK_TEST_BARE_SECONDS` how long `make test` may take.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import read_line
from tests.standins import debian

PROJECT = Path(__file__).parent.parent
MIRROR = os.environ.get("AZQUACK_TEST_MIRROR", "http://deb.debian.org/debian")
SECONDS = float(os.environ.get("AZQUACK_TEST_BARE_SECONDS", "5400"))
PACKAGES = "git,make,python3,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How this machine reaches its package index and the network: nothing of the project.
NETWORK = re.compile(
    r"(?i)(pip_|uv_|npm_config_|ssl_cert_|node_extra_ca|requests_ca|curl_ca|(https?|all|no)_proxy$)"
)
# As the shell that runs the tests has it.
OUTSIDE = {name: value for name, value in os.environ.items() if NETWORK.match(name)}
FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
# What is no part of a bare machine, and what only some machines can do: each with what its sentence says.
OPTIONAL = re.compile(
    r"java|Maven|Bicep compiler|schemas are not at|(zsh|fish) is not installed|network namespace|AZQUACK_TEST_CORPUS"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 1200)]


class BareMachine:
    """A root directory, in which commands run as root, with this machine's network."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, command: str) -> list[str]:
        """The arguments that run `command` in the project's directory there."""
        script = (
            'mount --make-rprivate / && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" '
            '&& mount --rbind /sys "$1/sys" '
            '&& exec chroot "$1" sh -c "cd /root/azquack && $2"'
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.root), command]

    def environment(self) -> dict[str, str]:
        """What is set there."""
        return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "AZQUACK_PORT": "0", **OUTSIDE}

    @contextmanager
    def running(self, command: str, log: Path) -> Iterator[subprocess.Popen[str]]:
        """`command`, whose output is a pipe and whose errors go to `log`; all of it is ended at the end."""
        with log.open("a") as errors:
            process = subprocess.Popen(
                self.command(command), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
                text=True, env=self.environment(), start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def run(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """The finished `command`, with its errors in its output."""
        with subprocess.Popen(
            self.command(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, env=self.environment(), start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                raise AssertionError(f"{command} took more than {seconds:.0f} s:\n{output[-5000:]}") from None
        return subprocess.CompletedProcess(command, process.returncode, output, "")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareMachine]:
    """A new Debian 12, with the files of this checkout in it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a bare machine is made by root, with unshare (util-linux)")
    if shutil.which("debootstrap") is None and (why := debian.install("debootstrap")):
        pytest.skip(why)
    root = tmp_path_factory.mktemp("bare")
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), MIRROR],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"debootstrap could not make a Debian: {made.stdout.strip()[-300:]}")
    for name in FILES:
        if Path(name).exists():
            shutil.copyfile(name, root / name[1:])
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (root / "root" / "azquack" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, root / "root" / "azquack" / name)
    bare = BareMachine(root)
    if (allowed := bare.run("true", 60)).returncode != 0:
        pytest.skip(f"this machine does not let us into another root: {allowed.stdout.strip()[-300:]}")
    yield bare
    shutil.rmtree(root, ignore_errors=True)


def test_make_up_serves_a_lake_and_says_how_to_attach_it(machine: BareMachine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with machine.running("exec make up", log) as process:
        said: list[str] = []
        while not (said and "azquack down" in said[-1]):
            said.append(read_line(process, lambda: f"make up did not serve: {log.read_text()}", 600))
        assert any("ATTACH 'quack:localhost:" in each for each in said)
        rows = machine.run(".venv/bin/azquack sql --format csv 'SELECT 6 * 7 AS answer'", 60)
        assert rows.stdout.split() == ["answer", "42"], rows.stdout
        down = machine.run(".venv/bin/azquack down", 90)
        assert down.stdout.strip() == "stopped", down.stdout
        assert process.wait(60) == 0, log.read_text()


def test_make_test_passes_and_skips_nothing_for_want_of_the_machine(machine: BareMachine) -> None:
    finished = machine.run("make test", SECONDS)
    assert finished.returncode == 0, finished.stdout[-20_000:]
    skipped = re.findall(r"^SKIPPED .*$", finished.stdout, re.MULTILINE)
    assert [each for each in skipped if not OPTIONAL.search(each)] == []
