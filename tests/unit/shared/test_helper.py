"""The helper: what a child may do to itself, and that it does it to nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import psutil
import pytest

from shared.blob import Blob
from shared.errors import CorruptFile, EncryptedPdf, ImageTooLarge, PreprocessingError
from shared.sandbox import Failures, SandboxPool
from shared.sniff import PNG
from shared.upload_check import Asked, UploadLimits, inspect_blob
from tests.unit.shared import helper_work as work
from tools.uploads import png

ROOT = Path(__file__).parents[3]
FAILURES = Failures(timed_out=PreprocessingError, crashed=CorruptFile, out_of_memory=ImageTooLarge)
MIB = 1024 * 1024


@pytest.fixture
async def helper() -> AsyncIterator[SandboxPool]:
    helper = SandboxPool(processes=1, memory=512 * MIB)
    yield helper
    await helper.close()


async def test_work_runs_in_another_process(helper: SandboxPool) -> None:
    assert await helper.run(work.pid, timeout=10, failures=FAILURES) != os.getpid()


async def test_a_child_that_checks_uploads_has_not_imported_what_the_service_is_made_of(helper: SandboxPool) -> None:
    limits = UploadLimits(frozenset({PNG}), MIB, MIB, MIB, 1)
    with Blob(png(1)) as blob:
        await helper.run(inspect_blob, blob.path, Asked(), limits, timeout=10, failures=FAILURES)
    assert not {"pydantic", "asyncio", "shared.settings"} & {
        *await helper.run(work.modules, timeout=10, failures=FAILURES)
    }


async def test_a_call_that_takes_too_long_is_killed_and_the_next_works(helper: SandboxPool) -> None:
    with pytest.raises(PreprocessingError):
        await helper.run(work.sleep, 60, timeout=0.2, failures=FAILURES)
    assert await helper.run(work.pid, timeout=10, failures=FAILURES)


async def test_a_crash_is_the_given_error_and_the_next_works(helper: SandboxPool) -> None:
    with pytest.raises(CorruptFile):
        await helper.run(work.segfault, timeout=10, failures=FAILURES)
    assert await helper.run(work.pid, timeout=10, failures=FAILURES)


async def test_too_much_memory_is_the_given_error(helper: SandboxPool) -> None:
    with pytest.raises(ImageTooLarge):
        await helper.run(work.allocate, 1024 * MIB, timeout=10, failures=FAILURES)
    assert await helper.run(work.allocate, 64 * MIB, timeout=10, failures=FAILURES) == 64 * MIB


async def test_our_errors_travel_as_themselves(helper: SandboxPool) -> None:
    with pytest.raises(EncryptedPdf, match="a detail"):
        await helper.run(work.refuse, timeout=10, failures=FAILURES)


async def test_an_idle_child_killed_from_outside_costs_nobody_a_call(helper: SandboxPool) -> None:
    child = await helper.run(work.pid, timeout=10, failures=FAILURES)
    os.kill(child, signal.SIGKILL)
    assert await helper.run(work.pid, timeout=10, failures=FAILURES) != child


async def test_a_child_killed_while_it_sends_an_answer_wedges_nobody(helper: SandboxPool) -> None:
    with pytest.raises(CorruptFile):
        await helper.run(work.die_while_answering, timeout=10, failures=FAILURES)
    assert await helper.run(work.pid, timeout=10, failures=FAILURES)


async def test_a_cancelled_call_ends_its_work(helper: SandboxPool) -> None:
    child = psutil.Process(await helper.run(work.pid, timeout=10, failures=FAILURES))
    with Blob() as begun:
        call = asyncio.ensure_future(helper.run(work.say_and_sleep, begun.path, 60, timeout=60, failures=FAILURES))
        while not begun.size:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await helper.run(work.pid, timeout=10, failures=FAILURES) != child.pid
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_a_child_is_replaced_after_its_share_of_calls() -> None:
    helper = SandboxPool(processes=1, memory=512 * MIB, max_tasks=1)
    pids = {await helper.run(work.pid, timeout=10, failures=FAILURES) for _ in range(3)}
    await helper.close()
    assert len(pids) == 3


async def test_close_leaves_no_child() -> None:
    helper = SandboxPool(processes=2, memory=512 * MIB)
    child = await helper.run(work.pid, timeout=10, failures=FAILURES)
    await helper.close()
    assert not psutil.pid_exists(child)


async def test_a_blob_goes_to_a_child_and_an_answer_comes_back(helper: SandboxPool) -> None:
    with Blob(b"x" * MIB) as blob, Blob() as answer:
        assert await helper.run(work.length, blob.path, timeout=10, failures=FAILURES) == MIB
        await helper.run(work.answer, answer.path, b"hello", timeout=10, failures=FAILURES)
        with answer.map() as memory:
            assert memory[:] == b"hello"


async def test_a_blob_is_a_file_where_there_is_no_memfd(
    helper: SandboxPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Blob(b"x" * MIB) as blob, Blob() as answer:
        assert await helper.run(work.length, blob.path, timeout=10, failures=FAILURES) == MIB
        await helper.run(work.answer, answer.path, b"hello", timeout=10, failures=FAILURES)
        with answer.map() as memory:
            assert memory[:] == b"hello"
        assert [path.startswith(str(tmp_path)) for path in (blob.path, answer.path)] == [True, True]
    assert not any(os.path.exists(path) for path in (blob.path, answer.path))  # noqa: ASYNC240, PTH110


async def test_a_file_on_disk_is_a_blob_without_a_copy(helper: SandboxPool) -> None:
    with TemporaryFile() as file:
        file.write(b"x" * MIB)
        with Blob.of(file) as blob:
            assert await helper.run(work.length, blob.path, timeout=10, failures=FAILURES) == MIB
            assert os.path.samefile(blob.path, f"/proc/{os.getpid()}/fd/{file.fileno()}")  # noqa: ASYNC240, PTH121
    with Blob.of(BytesIO(b"in memory")) as blob:
        assert blob.map()[:] == b"in memory"


PARENT = """
import asyncio
from shared.sandbox import Failures, SandboxPool
from shared.sniff import PNG
from shared.upload_check import Asked, UploadLimits, inspect_blob
from tests.unit.shared import helper_work as work
failures = Failures(RuntimeError, RuntimeError, RuntimeError)
async def main():
    helper = SandboxPool(processes=1, memory=2**29)
    print(await helper.run(work.pid, timeout=10, failures=failures), flush=True)
    await helper.run(work.sleep, 60, timeout=60, failures=failures)
asyncio.run(main())
"""


def test_children_die_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
