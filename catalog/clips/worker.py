"""The process that decodes: `python -m catalog.clips.worker`, clips in, frames out.

It has no credentials, for its environment is empty, and no more memory than a clip may need. It
ends when nobody writes to it any more.
"""

import resource
import sys

from catalog.clips.decoding import decode
from catalog.clips.limits import ClipError
from catalog.clips.messages import read_request, write_frames, write_refusal

MAX_MEMORY_BYTES = 3 * 2**30
"""Of addresses: a decoder of 4K holds some 20 frames of 15 MB, and the libraries take 1 GB."""


def main() -> None:
    """Answer clips until there are none left."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it may crash, and its core would be large
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while (request := read_request(requests)) is not None:
        try:
            frames = decode(request.data, request.limits, request.sampling)
        except ClipError as error:
            write_refusal(answers, str(error))
        else:
            write_frames(answers, frames)


if __name__ == "__main__":
    main()
