"""Ways an engine dies, and what its pages and its successor see of it."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from shared.contract.options import Options
from shared.errors import EngineDead
from tests.vllm.conftest import ROOT, TEST_ARGS, hosted, page
from tools.valkey import wait_until

LONG = " ".join(f"{i * 7919 % 100003}" for i in range(4000))


def core(host):
    (process,) = host.engine._liveness._processes
    return process.pid


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def three_pages(host, harm):
    """Three pages begin; once each has said something ``harm`` is done; what they end with."""
    readings = [host.engine.read(page(i), Options()) for i in range(3)]
    await asyncio.gather(*map(anext, readings))
    harm(core(host))

    async def rest(reading):
        async for _ in reading:
            pass

    return await asyncio.gather(*map(rest, readings), return_exceptions=True)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["KILL", "TERM", "STOP"])
def test_an_engine_that_dies_under_its_pages_tells_every_one(sign):
    with hosted() as host, host.saying(LONG):
        pid = core(host)
        host.engine._liveness.stall = 5.0 if sign == signal.SIGSTOP else 60.0
        ends = host.run(three_pages(host, lambda pid: os.kill(pid, sign)))
        assert [type(end) for end in ends] == [EngineDead] * 3
        with pytest.raises(EngineDead):
            host.run(host.engine.check())
        with pytest.raises(EngineDead):
            host.read(page())
        assert host.engine.describe().state == "dead"
        wait_until(lambda: gone(pid), what="vLLM's process to end")
    if sign == signal.SIGKILL:
        another_engine_works_in_this_process()


def another_engine_works_in_this_process():
    with hosted() as host, host.saying("again"):
        assert host.read(page())[1].markdown == "again"


def test_what_ended_vllms_own_process_is_said():
    with hosted() as host, host.saying("never said"):
        plain = host.engine.sampling

        def beyond_the_vocabulary(*args, **more):
            params = plain(*args, **more)
            params.extra_args["force_ids"] = [1 << 40]
            return params

        host.engine.sampling = beyond_the_vocabulary
        with pytest.raises(EngineDead, match="IndexError: index 1099511627776 is out of bounds"):
            host.read(page())


def test_a_dead_engine_that_is_closed_leaves_no_socket_open():
    """An open one would block whoever collects its context."""

    async def die_and_close(host):
        client = host.engine._vllm.engine_core
        os.kill(core(host), signal.SIGKILL)
        # The loop stands still meanwhile: what vLLM's thread leaves for it to do is not done yet.
        wait_until(lambda: not client._finalizer.alive, what="vLLM's thread to notice")
        await host.engine.close()
        return client.resources.input_socket.closed, client.resources.output_socket.closed

    with hosted() as host:
        assert host.run(die_and_close(host)) == (True, True)


ORPHAN = """
    import asyncio, sys
    sys.path[:0] = {paths!r}
    from tests.vllm.conftest import settings

    async def main():
        from worker.engines.deepseek_ocr import load
        engine = await load(settings(vllm_args={args!r}))
        print("pids", *[process.pid for process in engine._liveness._processes], *engine.preprocessor.pids, flush=True)
        await asyncio.sleep(600)

    if __name__ == "__main__":
        asyncio.run(main())
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_nothing_outlives_a_worker_that_is_killed(tmp_path, method):
    script = tmp_path / "orphan.py"
    script.write_text(textwrap.dedent(ORPHAN.format(paths=[str(ROOT)], args=TEST_ARGS)))
    owner = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OCR_TEST_START_METHOD": method},
    )
    try:
        said = next(line for line in owner.stdout if line.startswith("pids"))
        pids = list(map(int, said.split()[1:]))
        assert len(pids) == 2
        assert not any(map(gone, pids))
    finally:
        owner.kill()
        owner.wait()
    wait_until(lambda: all(map(gone, pids)), what="the engine's processes to end with it")
