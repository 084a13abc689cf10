"""sha256 of all that goes in and comes out, on threads of their own, while the weights are mixed."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from .layout import OutputFile
from .mix_job import MixJob
from .pieces import Part
from .streaming import OutputFiles, Progress


_CHUNK = 1 << 20
_THREADS = 2


class StreamHashes:
    """
    Hashes input files, output files and the mixed tensors in these.

    An output file is read behind the threads that write it, while what they wrote is still in memory.

    Args:
        outputs ([`~hf_finemix.streaming.OutputFiles`]): What the parts are written to.
        progress ([`~hf_finemix.streaming.Progress`]): Says which are written, and ends the work when it is stopped.
        parts (`Sequence[Part]`): All parts of the output.
    """

    def __init__(self, outputs: OutputFiles, progress: Progress, parts: Sequence[Part]):
        self._outputs, self._progress = outputs, progress
        # A tensor may be spread over many parts, and a later one may be written before an earlier one.
        self._parts: dict[str, list[int]] = {}
        for part in parts:
            for name in dict.fromkeys(piece.tensor.name for piece in part.pieces):
                self._parts.setdefault(name, []).append(part.number)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hashing")
        self._futures: list[Future[dict[str, str]]] = []
        self._mixed: set[str] = set()

    def start(self, job: MixJob, rank: int = 0, ranks: int = 1) -> None:
        """
        Begins.

        Args:
            job ([`~hf_finemix.mix_job.MixJob`]): Says which files there are.
            rank, ranks (`int`): Number of this process and of all; each takes some of the files.
        """
        self._mixed = {tensor.name for tensor in job.plan.mixed.values()}
        tasks: list[Callable[[], dict[str, str]]] = []
        for label, stored in (("suspect", job.suspect), ("pretrained", job.pretrained)):
            tasks += [partial(self._input, f"input:{label}/{file.path.name}", file.path) for file in stored.files]
        if job.fisher is not None:
            tasks.append(partial(self._input, "input:fisher", job.fisher.path))
        tasks += [partial(self._output, number, file) for number, file in enumerate(job.files)]
        self._futures = [self._pool.submit(self._guarded, task) for task in tasks[rank::ranks]]

    def results(self) -> dict[str, str]:
        """
        Waits for the hashes of this process; nothing if none were begun.

        Returns:
            `dict[str, str]`: By `"input:suspect/"` or `"input:pretrained/"` and the file, `"input:fisher"`,
            `"output:"` and the file, `"tensor:"` and the output tensor.

        Raises:
            Exception: What stopped the job.
        """
        return {name: text for future in self._futures for name, text in future.result().items()}

    def close(self) -> None:
        """Waits for the threads."""
        self._pool.shutdown()

    def _guarded(self, task: Callable[[], dict[str, str]]) -> dict[str, str]:
        try:
            return task()
        except BaseException as error:
            self._progress.stop(error)
            raise

    def _input(self, name: str, path: Path) -> dict[str, str]:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                self._progress.check()
                digest.update(buffer[:count])
        return {name: digest.hexdigest()}

    def _output(self, number: int, file: OutputFile) -> dict[str, str]:
        found = {}
        whole, buffer = hashlib.sha256(file.header), memoryview(bytearray(_CHUNK))
        for tensor, place in file.tensors:
            for part_number in self._parts.get(tensor.name, ()):
                self._progress.wait(part_number)
            own = hashlib.sha256()
            for start in range(0, place.size, _CHUNK):
                self._progress.check()
                part = buffer[: min(_CHUNK, place.size - start)]
                self._outputs.read(number, place.start + start, part)
                whole.update(part)
                if tensor.name in self._mixed:
                    own.update(part)
            if tensor.name in self._mixed:
                found[f"tensor:{tensor.name}"] = own.hexdigest()
        return found | {f"output:{file.name}": whole.hexdigest()}
