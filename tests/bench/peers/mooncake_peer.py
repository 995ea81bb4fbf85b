"""Mooncake Store over TCP, as its Python package is meant to be used where copies count: buffers
registered once, get_into and put_from, also in batches.

usage: mooncake_peer.py owner MASTER       a process that lends 2 GiB of memory to the store
       mooncake_peer.py client MASTER      takes commands (peer_loop.py); lends none
"""
import ctypes
import mmap
import sys

from mooncake.store import MooncakeDistributedStore

import peer_loop

SEGMENT_BYTES = 2 << 30
BUFFER_BYTES = 256 << 20
PUT_BYTES_MAX = 1200 << 20  # of one sample: less than the segment, so that nothing is evicted


class Mooncake:
    def __init__(self, master, segment_bytes):
        self.store = MooncakeDistributedStore()
        code = self.store.setup("127.0.0.1", "P2PHANDSHAKE", segment_bytes, 64 << 20, "tcp", "", master)
        if code != 0:
            raise RuntimeError(f"setup: {code}")
        if segment_bytes:
            return
        self.memory = mmap.mmap(-1, BUFFER_BYTES)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for at in range(0, BUFFER_BYTES, 4096):
            self.memory[at:at + 8] = at.to_bytes(8, "little")
        if self.store.register_buffer(self.address, BUFFER_BYTES) != 0:
            raise RuntimeError("register_buffer failed")
        self.stored = None
        self.puts = 0

    def prepare(self, size):
        if self.stored == size:
            return
        self.store.remove_all(True)
        for key in range(peer_loop.KEYS if size < 4 << 20 else 16):
            if self.store.put_from(f"get{key}", self.address, size) != 0:
                raise RuntimeError("put_from failed")
        self.stored = size

    def slot(self, thread, number, size):
        slots = BUFFER_BYTES // size
        return self.address + (thread * 16 + number) % slots * size

    def get(self, bytes, threads, batch, seconds):
        self.prepare(bytes)
        keys = peer_loop.KEYS if bytes < 4 << 20 else 16

        def one(thread, number):
            key = f"get{(number + thread * 7) % keys}"
            if self.store.get_into(key, self.slot(thread, number % 2, bytes), bytes) != bytes:
                raise RuntimeError("get_into failed")

        def many(thread, number):
            names = [f"get{(number * batch + i) % keys}" for i in range(batch)]
            into = [self.slot(thread, i, bytes) for i in range(batch)]
            if any(n != bytes for n in self.store.batch_get_into(names, into, [bytes] * batch)):
                raise RuntimeError("batch_get_into failed")

        return peer_loop.rate(one if batch == 1 else many, threads, seconds, bytes * batch)

    def put(self, bytes, threads, batch, seconds):
        self.store.remove_all(True)  # not timed
        self.stored = None
        self.puts += 1

        def one(thread, number):
            key = f"put{self.puts}.{thread}.{number}"
            if self.store.put_from(key, self.slot(thread, number % 2, bytes), bytes) != 0:
                raise RuntimeError("put_from failed")

        def many(thread, number):
            names = [f"put{self.puts}.{thread}.{number}.{i}" for i in range(batch)]
            out = [self.slot(thread, i, bytes) for i in range(batch)]
            if any(code != 0 for code in self.store.batch_put_from(names, out, [bytes] * batch)):
                raise RuntimeError("batch_put_from failed")

        return peer_loop.rate(one if batch == 1 else many, threads, seconds, bytes * batch,
                              max(1, PUT_BYTES_MAX // (bytes * batch * threads)))

    def lookup(self, bytes, threads, batch, seconds):
        names = [f"look{i}" for i in range(peer_loop.LOOKUP_KEYS)]
        if self.stored != "lookup":
            self.store.remove_all(True)
            for name in names:
                self.store.put_from(name, self.address, 4096)
            self.stored = "lookup"

        def one(thread, number):
            if sum(self.store.batch_is_exist(names)) != len(names):
                raise RuntimeError("batch_is_exist missed")

        return peer_loop.rate(one, threads, seconds, len(names))


if __name__ == "__main__":
    role, master = sys.argv[1:]
    if role == "owner":
        owner = Mooncake(master, SEGMENT_BYTES)
        print(peer_loop.ANSWER + '{"ready": true}', flush=True)
        sys.stdin.read()
    else:
        peer_loop.serve(Mooncake(master, 0))
