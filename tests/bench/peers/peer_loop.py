"""The loop that peers' clients share: one command a line on standard input, one answer a line on
standard output, behind a word that the peers' own libraries do not write.

A command is {"op": "get"|"put"|"lookup", "bytes": N, "threads": N, "batch": N, "seconds": S}; the
answer has the units a second: bytes of values, or keys.
"""
import json
import sys
import threading
import time

ANSWER = "PEER-ANSWER "
KEYS = 64       # values of one size that are read, and rewritten where a peer takes that
LOOKUP_KEYS = 512


def rate(call, threads, seconds, units, calls_max=None):
    """Units a second of call(thread, number), each of so many units, in so many threads."""
    counts = [0] * threads
    errors = []
    end = time.perf_counter() + seconds
    begun = time.perf_counter()

    def work(thread):
        try:
            while time.perf_counter() < end and not (calls_max and counts[thread] >= calls_max):
                call(thread, counts[thread])
                counts[thread] += 1
        except Exception as error:  # said below: a rate of what failed is none
            errors.append(error)

    workers = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - begun
    if errors:
        raise errors[0]
    return sum(counts) * units / took


def serve(peer):
    """Answers commands until standard input ends. peer has a method for each op."""
    print(ANSWER + json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"rate": getattr(peer, command.pop("op"))(**command)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(ANSWER + json.dumps(answer), flush=True)
