"""sha256 of all that goes in and comes out, on threads of their own, while the weights are mixed."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from .layout import OutputFile
from .pieces import Part
from .streaming import OutputFiles, Progress


_CHUNK = 1 << 20


class StreamHashes:
    """
    Hashes input files, output files and the mixed tensors in these.

    An output file is read behind the threads that write it, while what they wrote is still in memory.

    Args:
        inputs (`dict[str, Path]`): Input files by a name of the caller's.
        files (`Sequence[OutputFile]`): The output files.
        mixed (`set[str]`): Names of the output tensors that are hashed by themselves, too.
        parts (`Sequence[Part]`): All parts of the output.
        outputs ([`~hf_finemix.streaming.OutputFiles`]): What they are written to.
        progress ([`~hf_finemix.streaming.Progress`]): Says which are written, and ends the work when it is stopped.
        rank, ranks (`int`): Number of this process and of all; each takes some of the files.
    """

    def __init__(
        self,
        inputs: dict[str, Path],
        files: Sequence[OutputFile],
        mixed: set[str],
        parts: Sequence[Part],
        outputs: OutputFiles,
        progress: Progress,
        rank: int = 0,
        ranks: int = 1,
    ):
        self._files, self._mixed, self._outputs, self._progress = files, mixed, outputs, progress
        self._last = {piece.tensor.name: part.number for part in parts for piece in part.pieces}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="hashing")
        tasks = [(self._input, (name, path)) for name, path in inputs.items()]
        tasks += [(self._output, (number,)) for number in range(len(files))]
        self._futures: list[Future[dict[str, str]]] = [
            self._pool.submit(self._guarded, task, arguments) for task, arguments in tasks[rank::ranks]
        ]

    def results(self) -> dict[str, str]:
        """
        Waits for the hashes of this process.

        Returns:
            `dict[str, str]`: By `"input:"` and its name, `"output:"` and the file, `"tensor:"` and the tensor.

        Raises:
            BaseException: What stopped the job.
        """
        found: dict[str, str] = {}
        for future in self._futures:
            found |= future.result()
        self._pool.shutdown()
        return found

    def _guarded(self, task, arguments) -> dict[str, str]:
        try:
            return task(*arguments)
        except BaseException as error:
            self._progress.stop(error)
            raise

    def _input(self, name: str, path: Path) -> dict[str, str]:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                self._progress.check()
                digest.update(buffer[:count])
        return {f"input:{name}": digest.hexdigest()}

    def _output(self, number: int) -> dict[str, str]:
        file, found = self._files[number], {}
        whole, buffer = hashlib.sha256(file.header), memoryview(bytearray(_CHUNK))
        for tensor, place in file.tensors:
            if tensor.name in self._last:
                self._progress.wait(self._last[tensor.name])
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
