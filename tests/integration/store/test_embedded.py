"""The embedded server, as whoever runs the tests: root (then Postgres is another user) or anybody else."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.integration.store.changing import commit, instance, new
from viewserver.store import PostgresFailed, PostgresMissing
from viewserver.store.changes import changes_since
from viewserver.store.embedded import EmbeddedPostgres, binaries
from viewserver.store.engine import Database
from viewserver.store.head import Head, read_head
from viewserver.store.migrate import migrate
from viewserver.store.network import load

ROOT = Path(__file__).resolve().parents[3]


async def restarted(server, count=1):
    async with asyncio.timeout(60):
        while server.restarts < count:
            await asyncio.sleep(0.01)


def alive(pid):
    """Running, and not merely unreaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def owner(directory, *options):
    """Another process that owns a Postgres and writes to it without end."""
    path = os.pathsep.join([str(ROOT / "services"), str(ROOT), *filter(None, sys.path)])
    command = [sys.executable, Path(__file__).with_name("owner.py"), directory, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    try:
        yield process, int(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def everything(server):
    async with Database(server.dsn) as database, database.snapshot() as conn:
        return await load(conn), await changes_since(conn, 0, 100_000)


async def test_it_keeps_what_was_written_over_a_restart(tmp_path):
    async with EmbeddedPostgres(tmp_path / "data") as server:
        await migrate(server.dsn)
        async with Database(server.dsn) as database:
            await commit(database, new(instance(1)))
        first = server.pid
    assert server.pid is None
    assert not alive(first)
    assert not (server.data / "postmaster.pid").exists()  # it was stopped in order
    async with EmbeddedPostgres(tmp_path / "data") as server:
        network, changes = await everything(server)
        assert (network.head, len(network.objects), len(changes)) == (Head(1, 1), 1, 1)


async def test_it_is_durable_and_reachable_by_its_owner_alone(postgres):
    conn = await asyncpg.connect(postgres.dsn)
    assert not await conn.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    await conn.close()
    conn = await asyncpg.connect(postgres.url(role="postgres"))
    try:
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
        }.items():
            assert await conn.fetchval("SELECT current_setting($1)", setting) == value
        socket = Path(await conn.fetchval("SELECT current_setting('unix_socket_directories')"))
    finally:
        await conn.close()
    assert socket.stat().st_mode & 0o777 == 0o700
    assert postgres.data.stat().st_mode & 0o777 == 0o700
    owner_of_process = Path(f"/proc/{postgres.pid}").stat().st_uid
    assert owner_of_process != 0
    assert {place.stat().st_uid for place in (socket, postgres.data)} == {owner_of_process}
    status = Path(f"/proc/{postgres.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert os.getsid(postgres.pid) == postgres.pid  # so Ctrl-C is the view server's


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
async def test_another_user_is_not_let_in(postgres):
    """Not even Postgres's own, who can enter the socket's directory: the kernel says who is calling."""
    uid = Path(f"/proc/{postgres.pid}").stat().st_uid
    script = "import asyncio, asyncpg, os, sys; os.setgroups([]); os.setuid(int(sys.argv[1])); "
    script += "asyncio.run(asyncpg.connect(sys.argv[2]))"
    for who, said in ((uid, "Peer authentication failed"), (uid + 1, "Permission denied")):
        tried = subprocess.run(
            [sys.executable, "-c", script, str(who), postgres.dsn], capture_output=True, text=True, check=False
        )
        assert tried.returncode != 0
        assert said in tried.stderr


@pytest.mark.slow
async def test_it_runs_below_private_and_deep_directories(tmp_path):
    """A parent of mode 0700, which Postgres's user cannot enter, and a path longer than a socket's may be."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    async with EmbeddedPostgres(private / ("a" * 120) / "it's % #? “odd”") as server:
        await migrate(server.dsn)
        assert len(server.dsn) < 107
    assert private.stat().st_mode & 0o777 == 0o700


async def test_a_second_view_server_on_the_same_directory_is_refused(tmp_path):
    async with EmbeddedPostgres(tmp_path) as server:
        with pytest.raises(PostgresFailed, match=rf"another view server \(process {os.getpid()}\)"):
            async with EmbeddedPostgres(tmp_path):
                pass
        await migrate(server.dsn)  # and the first is none the worse


async def test_killed_it_is_started_again_with_everything_that_was_acknowledged(tmp_path):
    acknowledged = {}
    async with EmbeddedPostgres(tmp_path) as server, Database(server.dsn) as database:
        await migrate(server.dsn)

        async def write(writer):
            for number in range(writer, 1_000_000, 4):
                try:
                    change = await commit(database, new(instance(number)))
                except Exception:
                    return number
                acknowledged[change.revision] = number
            raise AssertionError

        for kill in (1, 2):
            writers = [asyncio.create_task(write(writer + 1000 * kill)) for writer in range(4)]
            goal = len(acknowledged) + 25
            while len(acknowledged) < goal:
                await asyncio.sleep(0.001)
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.gather(*writers)
            await restarted(server, kill)
        network, changes = await everything(server)
        kept = {change.revision: change.operations[0].id for change in changes}
        assert list(kept) == list(range(1, network.revision + 1))
        assert {revision: instance(number).id for revision, number in acknowledged.items()}.items() <= kept.items()
        assert {name for _, name, _ in network.objects} == set(kept.values())
        await commit(database, new())  # the same pool goes on


@pytest.mark.slow
async def test_a_busy_backend_that_outlived_its_postmaster_is_ended_before_the_next(tmp_path):
    """Two generations on one data directory would destroy it."""
    async with EmbeddedPostgres(tmp_path) as server:
        conn = await asyncpg.connect(server.dsn)
        backend = conn.get_server_pid()
        busy = asyncio.create_task(conn.execute("SELECT count(*) FROM generate_series(1, 10000000000)"))
        watcher = await asyncpg.connect(server.dsn)
        async with asyncio.timeout(30):
            while await watcher.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", backend) != "active":
                await asyncio.sleep(0.01)
        os.kill(server.pid, signal.SIGKILL)
        await restarted(server)
        assert not alive(backend)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await busy
        watcher.terminate()
        await migrate(server.dsn)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--undying",)])
async def test_after_its_owner_was_killed_the_next_takes_over(tmp_path, options):
    with owner(tmp_path, *options) as (process, postmaster):
        acknowledged = [process.stdout.readline() for _ in range(30)]
        process.kill()
        acknowledged += process.stdout.readlines()
    if not options:
        async with asyncio.timeout(30):
            while alive(postmaster):
                await asyncio.sleep(0.01)
    assert alive(postmaster) == bool(options)
    async with EmbeddedPostgres(tmp_path) as server:
        assert not alive(postmaster)
        network, changes = await everything(server)
    kept = {change.revision: change.operations[0].id for change in changes}
    assert list(kept) == list(range(1, network.revision + 1))
    told = [line.split() for line in acknowledged if line.endswith("\n")]
    assert len(told) >= 30
    assert {int(revision): name for _, revision, name in told}.items() <= kept.items()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zombie", "stranger", "nobody", "nonsense"])
async def test_a_stale_postmaster_pid_is_not_believed(tmp_path, kind):
    """A process of that number may exist: unreaped in a container without an init, or somebody else's by now."""
    async with EmbeddedPostgres(tmp_path) as server:
        await migrate(server.dsn)
        lines = (server.data / "postmaster.pid").read_text().splitlines()
    process = subprocess.Popen(["true" if kind == "zombie" else "cat"], stdin=subprocess.PIPE)
    try:
        if kind == "zombie":
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        pid = {"nobody": 4194303, "nonsense": "?"}.get(kind, process.pid)
        (server.data / "postmaster.pid").write_text("\n".join([str(pid), *lines[1:]]) + "\n")
        async with EmbeddedPostgres(tmp_path) as server, Database(server.dsn) as database, database.snapshot() as conn:
            assert await read_head(conn) == Head(1, 0)
        if kind == "stranger":
            assert process.poll() is None
    finally:
        process.stdin.close()
        process.wait()


@pytest.mark.slow
async def test_it_is_started_again_also_when_its_runtime_directory_was_swept(tmp_path):
    async with EmbeddedPostgres(tmp_path) as server:
        conn = await asyncpg.connect(server.url(role="postgres"))
        socket = Path(await conn.fetchval("SELECT current_setting('unix_socket_directories')"))
        await conn.close()
        shutil.rmtree(socket.parent)
        os.kill(server.pid, signal.SIGKILL)
        await restarted(server)
        await migrate(server.dsn)
    assert not socket.parent.exists()


@pytest.mark.slow
async def test_a_layout_that_was_cut_short_is_begun_anew(tmp_path):
    cut = tmp_path / "postgres.new"
    (cut / "base").mkdir(parents=True)
    (cut / "PG_VERSION").write_text("15\n")
    async with EmbeddedPostgres(tmp_path) as server:
        await migrate(server.dsn)
    assert not cut.exists()


async def test_a_cluster_of_another_version_is_not_touched(tmp_path):
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresMissing, match=r"version 9, which .* Install the package postgresql-9, or set"):
        async with EmbeddedPostgres(tmp_path):
            pass
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


async def test_a_directory_of_other_things_is_not_touched(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "letters.txt").write_text("dear")
    with pytest.raises(PostgresFailed, match="neither empty nor"):
        async with EmbeddedPostgres(tmp_path):
            pass
    assert (tmp_path / "postgres" / "letters.txt").read_text() == "dear"


def test_without_binaries_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(binaries, "_DEBIAN", tmp_path)
    monkeypatch.setattr(binaries, "_WHEEL", "no_such_wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        PostgresMissing, match=r"found: none\. Install the package postgresql, .*verge-edge\[postgres\].*DATABASE_URL"
    ):
        binaries.find_binaries()


async def test_a_postgres_that_cannot_start_says_why(tmp_path):
    async with EmbeddedPostgres(tmp_path) as server:
        pass
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write("nonsense = 1\n")
    with pytest.raises(PostgresFailed, match='unrecognized configuration parameter "nonsense"'):
        async with EmbeddedPostgres(tmp_path):
            pass
