"""The meter's Debian package, its unit and its scripts, as far as a machine that is no Raspberry Pi can try them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from support import ROOT

HERE = ROOT / "deploy" / "raspberry-pi"
UNIT = HERE / "hushgrid-meter.service"
REQUIRE_ALL = bool(os.environ.get("HUSHGRID_REQUIRE_ALL"))


def need(*programs: str, root: bool = False) -> None:
    """Skip where something is missing; fail where everything has to run."""
    missing = [program for program in programs if shutil.which(program) is None]
    if root and os.geteuid() != 0:
        missing.append("root")
    if missing and REQUIRE_ALL:
        pytest.fail(f"must not be skipped here: {', '.join(missing)} missing")
    if missing:
        pytest.skip(f"{', '.join(missing)} missing")


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=options.pop("timeout", 600),
        **options,
    )


@pytest.mark.machine
@pytest.mark.system  # `make emulation`, which comes before these, brings systemd's tools
def test_systemd_accepts_the_unit_and_finds_it_hardened(tmp_path):
    need("systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/hushgrid-meter", "/bin/true"))
    verified = run("systemd-analyze", "verify", unit)
    assert verified.returncode == 0, verified.stderr
    assert verified.stderr == ""
    exposure = run("systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager", unit)
    assert exposure.returncode == 0, exposure.stdout[-200:]


def test_the_unit_says_what_the_agent_relies_on():
    text = UNIT.read_text()
    for setting in (
        "Type=notify", "DynamicUser=yes", "StateDirectory=hushgrid-meter", "MemoryMax=", "WatchdogSec=",
        "Restart=always", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0", "adjtimex",
    ):  # fmt: skip
        assert setting in text, setting
    assert "/var/lib/hushgrid-meter" in (ROOT / "meter_agent" / "sample.toml").read_text()


@pytest.mark.parametrize("script", ["install.sh", "debian/postinst", "debian/prerm", "debian/postrm"])
def test_the_scripts_are_shell_that_a_plain_sh_takes(script):
    path = HERE / script
    assert os.access(path, os.X_OK)
    assert run("sh", "-n", path).returncode == 0


@pytest.mark.parametrize(("action", "kept"), [("remove", True), ("upgrade", True), ("purge", False)])
def test_purging_leaves_no_secret_and_removal_leaves_all(tmp_path, action, kept):
    files = [
        tmp_path / name
        for name in (
            "etc/hushgrid/meter.toml", "etc/hushgrid/meter.token", "etc/hushgrid/broker.password",
            "etc/hushgrid/topic.password", "etc/hushgrid/tls/meter.pem", "var/lib/hushgrid-meter/keys.sqlite",
            "var/lib/private/hushgrid-meter/keys.sqlite",
        )
    ]  # fmt: skip
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("secret")
    script = tmp_path / "postrm"
    text = (HERE / "debian" / "postrm").read_text()
    script.write_text(re.sub(r"(?<=\s)/(?=etc|var|run)", f"{tmp_path}/", text))
    done = run("sh", script, action)
    assert done.returncode == 0, done.stderr
    assert [file.exists() for file in files] == [kept] * len(files)
    assert (tmp_path / "etc" / "hushgrid").exists() == kept


def test_the_install_script_refuses_in_one_line(tmp_path):
    need(root=True)
    done = run("sh", HERE / "install.sh", tmp_path / "missing.deb")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
