"""`hushgrid enrol`: certificates, tokens and the broker's rules, for the operator of a grid."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import signal
import sys
from pathlib import Path, PurePosixPath

import click

from configurator.authority.authority import Authority, make_directory, replace, utc_now
from configurator.authority.checked import ENROLLED, agents_of, checked, owner_of
from configurator.authority.eviction import end_connections, ports_of
from configurator.authority.installation import AUTHORITY_PORT, CONFIGURATOR, Installation, deploy, give
from configurator.authority.mosquitto_files import PORTS, BrokerFiles
from configurator.authority.nats_files import write_nats
from configurator.authority.service import serve
from configurator.names import check_agent_id, check_host
from configurator.registry.registry import Registry
from configurator.tokens import TOKEN_LIFE, lifetime
from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError, MessageError
from hushgrid.shell.certificates import certificates_of
from hushgrid.shell.config import ENVIRONMENT_PREFIX, load_some
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.runtime import until_signalled
from hushgrid.wire.role import Role
from hushgrid.wire.topics import check_part

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_COUNT = click.IntRange(min=0)
_PORT, _LISTENING_PORT = click.IntRange(1, 65_535), click.IntRange(0, 65_535)
_LOOPBACK = ("localhost", "127.0.0.1")
_GRID = "hushgrid"
_PILOT = PurePosixPath("/etc/mosquitto/hushgrid")


@click.group()
def enrol() -> None:
    """Certificates, one-time tokens and the broker's rules: who may come through which door of the broker."""


_AGENT, _HOST = checked(check_agent_id), checked(check_host)

own_grid_option = click.option(
    "--grid", callback=checked(check_part), help="Name of the installation; default: the authority's own."
)
owner_option = click.option(
    "--owner", callback=owner_of, metavar="USER[:GROUP]",
    help="To whom the broker's files are given, by names or numbers: to the user that the broker runs as.",
)  # fmt: skip
written_option = click.option(
    "--mounted", metavar="DIR", help="Where the broker sees its files; default: where they are written."
)
grid_option = click.option(
    "--grid", default=_GRID, show_default=True, callback=checked(check_part), help="Name of the installation."
)
state_option = click.option(
    "--state", type=_DIRECTORY, required=True, help="The authority's directory, of `hushgrid enrol deployment`."
)
mounted_option = click.option(
    "--mounted", default=str(_PILOT), show_default=True, metavar="DIR", help="Where the broker sees its files."
)
storage_option = click.option(
    "--storage", default="/var/lib/mosquitto", show_default=True, metavar="DIR",
    help="Where the broker keeps sessions over a restart; empty: nowhere.",
)  # fmt: skip


def _grid_of(authority: Authority, given: str | None) -> str:
    """The grid that an authority was made for, which what is given must not contradict."""
    if None not in (authority.grid, given) and authority.grid != given:
        raise ConfigurationError(f"--grid {given}: this is the authority of {authority.grid}")
    return authority.grid or given or _GRID


def _files(grid: str, mounted: str, storage: str) -> BrokerFiles:
    return BrokerFiles(grid, PurePosixPath(mounted), PORTS, storage=PurePosixPath(storage) if storage else None)


@enrol.command("deployment")
@click.option("--output", type=_DIRECTORY, required=True, help="A directory that is empty or not there.")
@grid_option
@click.option("--meters", type=_COUNT, default=0, help="So many meters: meter-1, meter-2, ...")
@click.option("--ppns", type=_COUNT, default=0, help="So many PPNs: ppn-1, ...")
@click.option("--consumers", type=_COUNT, default=0, help="So many consumers: consumer-1, ...")
@click.option(
    "--agent", "agents", multiple=True, metavar="ID:ROLE", callback=agents_of,
    help="A further agent; roles: meter, carrier, ppn, consumer; repeatable.",
)  # fmt: skip
@click.option(
    "--broker-host", "broker_hosts", callback=_HOST, multiple=True, default=_LOOPBACK, show_default=True, metavar="HOST",
    help="Name or address that agents reach the broker by; repeatable, the first one goes into urls.",
)  # fmt: skip
@click.option(
    "--authority-host", "authority_hosts", callback=_HOST, multiple=True, default=_LOOPBACK, show_default=True,
    metavar="HOST", help="The same of `hushgrid enrol serve`.",
)  # fmt: skip
@click.option("--authority-port", type=_PORT, default=AUTHORITY_PORT, show_default=True, help="Its port.")
@click.option(
    "--token-hours", default=TOKEN_LIFE / dt.timedelta(hours=1), show_default=True, help="How long the tokens are good."
)
@written_option
@storage_option
@owner_option
@stops_with_one_line
def deployment_command(
    output: Path,
    grid: str,
    meters: int,
    ppns: int,
    consumers: int,
    agents: tuple[tuple[str, Role], ...],
    broker_hosts: tuple[str, ...],
    authority_hosts: tuple[str, ...],
    authority_port: int,
    token_hours: float,
    mounted: str | None,
    storage: str,
    owner: tuple[int, int] | None,
) -> None:
    """Prepare a whole installation: authority, broker files, a token for every agent, the configurator's identity."""
    counted = ((Role.METER, meters), (Role.PPN, ppns), (Role.CONSUMER, consumers))
    everybody = [(f"{role.value}-{number}", role) for role, count in counted for number in range(1, count + 1)]
    everybody += agents
    if len({agent for agent, _ in everybody} | {CONFIGURATOR}) <= len(everybody):
        raise ConfigurationError("--agent: an id is given twice")
    wanted = Installation(
        agents=tuple(everybody),
        broker=_files(grid, mounted or str(output.resolve() / "broker"), storage),
        broker_hosts=broker_hosts,
        authority_hosts=authority_hosts,
        authority_port=authority_port,
        token_life=lifetime(token_hours),
        broker_owner=owner,
    )
    deployed = deploy(wanted, output, utc_now())
    click.echo(
        f"{output}: authority, broker and {len(everybody) + 1} agents; tokens are good for {token_hours:g} hours"
    )
    click.echo(f"the configurator's key is {deployed.configurator_identity.hex()}")


@enrol.command("serve")
@state_option
@own_grid_option
@click.option("--listen", callback=_HOST, help="Address to listen on; default: every interface.")
@click.option("--port", type=_LISTENING_PORT, default=AUTHORITY_PORT, show_default=True, help="0: any that is free.")
@click.option(
    "--host", "hosts", callback=_HOST, multiple=True,
    help="Make the door's own certificate anew for these names or addresses; needed where there is none yet. Repeatable.",
)  # fmt: skip
@click.option("--certificate-days", default=30.0, show_default=True, help="Life of the certificates that are signed.")
@click.option(
    "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", show_default=True,
    envvar=f"{ENVIRONMENT_PREFIX}LOG__LEVEL", help="How much is said on standard error.",
)  # fmt: skip
@stops_with_one_line
def serve_command(
    state: Path,
    grid: str | None,
    listen: str | None,
    port: int,
    hosts: tuple[str, ...],
    certificate_days: float,
    log_level: str,
) -> None:
    """Be the authority: give certificates to agents that show a token, and renew them, until SIGTERM."""
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True)
    life = lifetime(24 * certificate_days)
    with contextlib.closing(Authority.existing(state)) as authority:
        grid = _grid_of(authority, grid)
        if hosts:
            authority.write_server(authority.directory, "server", hosts, utc_now())
        elif not (state / "server.pem").exists():
            raise ConfigurationError(f"{state}: the authority's door has no certificate yet: say --host")
        asyncio.run(until_signalled(lambda: serve(authority, grid, listen or "", port, life)))


@enrol.command("agent")
@click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE.toml", help="The agent's configuration."
)
@click.option("--role", type=click.Choice([role.value for role in (*ENROLLED, Role.CONFIGURATOR)]), required=True)
@stops_with_one_line
def agent_command(config: Path, role: str) -> None:
    """Get an agent its first certificates now, against its token. (Agents do so themselves when they start.)"""
    loaded = load_some(config, ("agent", "broker", "authority"))
    keyring = Keyring(loaded.agent.state_directory / "keys.sqlite")
    identity = keyring.identity(loaded.agent.id)
    keyring.close()
    certificates = certificates_of(loaded, Role(role), identity)
    if certificates is None:
        raise ConfigurationError(f"{config}: authority.url is missing")
    names = [identity.pseudonym(loaded.agent.grid, epoch) for epoch in (0, 1)]
    try:
        asyncio.run(certificates.obtain(names))
    except (OSError, TimeoutError, MessageError) as error:
        raise ConfigurationError(f"{loaded.authority.url}: {error or type(error).__name__}") from None
    click.echo(
        f"{loaded.agent.id}: certificates for {' and '.join(names)} in {loaded.agent.state_directory}/certificates"
    )


@enrol.command("token")
@state_option
@click.option("--agent", callback=_AGENT, required=True, help="Id of the agent.")
@click.option("--role", type=click.Choice([role.value for role in (*ENROLLED, Role.CONFIGURATOR)]), required=True)
@click.option(
    "--registry", type=click.Path(path_type=Path, dir_okay=False),
    help="registry.sqlite of the configurator, to which the same token is made known.",
)  # fmt: skip
@click.option(
    "--hours", default=TOKEN_LIFE / dt.timedelta(hours=1), show_default=True, help="How long the token is good."
)
@stops_with_one_line
def token_command(state: Path, agent: str, role: str, registry: Path | None, hours: float) -> None:
    """Print a one-time token for one agent."""
    agents, life = [(agent, Role(role))], lifetime(hours)
    with contextlib.closing(Authority.existing(state)) as authority:
        if registry is None:
            tokens = authority.issue_tokens(agents, utc_now(), life)
        else:
            authority.check_not_shut_out([agent])
            if not registry.is_file():
                raise ConfigurationError(f"--registry {registry}: there is no such file")
            with contextlib.closing(Registry(registry)) as known:
                tokens = known.agents.issue_tokens(agents, life)
            authority.accept_tokens(agents, tokens, utc_now(), life)
    click.echo(tokens[agent])


@enrol.command("broker")
@state_option
@click.option(
    "--output", type=_DIRECTORY, required=True, help="Where the files go; those of the same name are replaced."
)
@own_grid_option
@click.option(
    "--host",
    "hosts",
    callback=_HOST,
    multiple=True,
    required=True,
    help="Name or address of the broker; repeatable.",
)
@written_option
@storage_option
@owner_option
@stops_with_one_line
def broker_command(
    state: Path,
    output: Path,
    grid: str | None,
    hosts: tuple[str, ...],
    mounted: str | None,
    storage: str,
    owner: tuple[int, int] | None,
) -> None:
    """Write all that Mosquitto needs: configuration, rules, its certificate, whom it believes, who is shut out."""
    mounted = mounted or str(output.resolve())
    with contextlib.closing(Authority.existing(state)) as authority:
        authority.write_broker(_files(_grid_of(authority, grid), mounted, storage), output, hosts, utc_now())
    if owner is not None:
        give(output, *owner)
    click.echo(f"{output}: mosquitto -c {mounted}/mosquitto.conf; agents are given {state}/broker-ca.pem")


@enrol.command("nats")
@state_option
@click.option("--output", type=_DIRECTORY, required=True, help="Where the secret's files go; they are replaced.")
@click.option(
    "--host", "hosts", callback=_HOST, multiple=True, required=True,
    help="Name or address of a node, for agents and for the other nodes; repeatable.",
)  # fmt: skip
@stops_with_one_line
def nats_command(state: Path, output: Path, hosts: tuple[str, ...]) -> None:
    """Write what the nodes of a NATS cluster need for mutual TLS: tls.key, tls.crt, ca.crt, servers-ca.crt."""
    with contextlib.closing(Authority.existing(state)) as authority:
        write_nats(authority, output, hosts, utc_now())
    click.echo(f"{output}: kubectl create secret generic nats-tls --from-file={output}")


@enrol.command("acl")
@click.option("--output", type=_DIRECTORY, help="Write the files here; default: print them.")
@grid_option
@mounted_option
@storage_option
@stops_with_one_line
def acl_command(output: Path | None, grid: str, mounted: str, storage: str) -> None:
    """Print or write Mosquitto's configuration and access rules alone, as they follow from the topics."""
    for name, content in _files(grid, mounted, storage).contents().items():
        if output is None:
            click.echo(f"==> {name} <==\n{content}")
        else:
            make_directory(output)
            replace(output / name, content.encode())


@enrol.command("revoke")
@state_option
@click.option("--agent", callback=_AGENT, required=True, help="Id of the agent that is shut out for ever.")
@click.option("--broker", type=_DIRECTORY, required=True, help="The directory of the broker's files.")
@click.option(
    "--signal", "pid", type=click.IntRange(min=1), metavar="PID", help="The broker's process, to be sent SIGHUP."
)
@click.option(
    "--evict",
    callback=_HOST,
    metavar="HOST",
    help="The broker's address: end the agent's connections too; with --signal.",
)
@stops_with_one_line
def revoke_command(state: Path, agent: str, broker: Path, pid: int | None, evict: str | None) -> None:
    """Shut an agent out: no new certificates, and its present ones go on the lists that the broker reads."""
    if evict is not None and pid is None:
        raise ConfigurationError("--evict needs --signal: a broker that has not read its lists lets the agent in again")
    with contextlib.closing(Authority.existing(state)) as authority:
        _shut_out(authority, agent, broker, pid, evict)


def _shut_out(authority: Authority, agent: str, broker: Path, pid: int | None, evict: str | None) -> None:
    doors = authority.doors(agent)
    authority.check_broker(broker, doors)
    ports = ports_of(broker) if evict is not None else {}
    if evict is not None and not doors <= ports.keys():
        raise ConfigurationError(f"{broker}/mosquitto.conf: it does not say where the agent's door is")
    if pid is not None:
        _signal(pid, 0)
    names = authority.revoke(agent, utc_now())
    authority.write_revocations(broker, utc_now())
    if pid is None:
        click.echo(f"{agent} is shut out ({len(names)} names); send the broker SIGHUP so that it reads its lists")
        return
    _signal(pid, signal.SIGHUP)
    if evict is not None:
        asyncio.run(end_connections(authority, agent, evict, ports))
    click.echo(f"{agent} is shut out ({len(names)} names)")


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"--signal {pid}: {getattr(error, 'strerror', error)}") from None
