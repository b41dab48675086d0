"""The process that decodes clips and sounds: `python -m catalog.decoding.worker`.

It has no credentials, for its environment is empty, and no more memory than a clip may need. It
ends when nobody writes to it any more.
"""

import io
import resource
import sys

from catalog.audio.decoding import decode as decode_audio
from catalog.clips.decoding import decode as decode_clip
from catalog.decoding.messages import Answer, ClipRequest, Request, read_request, write_answer
from catalog.decoding.pipes import PIPE_BYTES
from catalog.records import RecordError

MAX_MEMORY_BYTES = 3 * 2**30
"""Of addresses: a decoder of 4K holds some 20 frames of 15 MB, and the libraries take 1 GB."""


def main() -> None:
    """Answer clips and sounds until there are none left."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it may crash, and its core would be large
    requests = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), PIPE_BYTES)
    answers = io.BufferedWriter(io.FileIO(sys.stdout.fileno(), "w", closefd=False), PIPE_BYTES)
    while (request := read_request(requests)) is not None:
        try:
            answer = _decoded(request)
        except RecordError as error:
            answer = str(error)
        write_answer(answers, answer)


def _decoded(request: Request) -> Answer:
    if isinstance(request, ClipRequest):
        return decode_clip(request.data, request.limits, request.sampling)
    return decode_audio(request.data, request.limits, request.sampling)


if __name__ == "__main__":
    main()
