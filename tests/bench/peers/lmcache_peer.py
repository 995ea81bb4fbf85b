"""LMCache's own remote server (lmcache_server) through the connector that LMCache ships for it. Its
other backends need a GPU, another store, or are the engine's own memory.

A put has no answer there: a sample of puts ends with a question about the last key, which the server
answers after all that was sent before it on that connection.

usage: lmcache_peer.py HOST PORT      takes commands (peer_loop.py)
"""
import asyncio
import logging
import sys
import threading

import torch
from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.memory_allocators.host_memory_allocator import HostMemoryAllocator
from lmcache.v1.memory_management import MemoryFormat
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.storage_backend.connector.lm_connector import LMCServerConnector
from lmcache.v1.storage_backend.local_cpu_backend import LocalCPUBackend

import peer_loop

BUFFER_BYTES = 512 << 20


class LMCache:
    def __init__(self, host, port, connections):
        logging.disable(logging.WARNING)
        metadata = LMCacheMetadata(model_name="m", world_size=1, local_world_size=1, worker_id=0,
                                   local_worker_id=0, kv_dtype=torch.bfloat16,
                                   kv_shape=(1, 2, 256, 8, 128))
        config = LMCacheEngineConfig.from_defaults()
        backend = LocalCPUBackend(config, metadata, memory_allocator=HostMemoryAllocator(BUFFER_BYTES))
        self.backend = backend
        # An engine's worker has one; more of them are more workers.
        self.loops, self.connectors = [], []
        for _ in range(connections):
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, daemon=True).start()
            self.loops.append(loop)
            self.connectors.append(LMCServerConnector(host, port, loop, backend))
        self.stored = None

    def key(self, name):
        return CacheEngineKey("m", 1, 0, name, torch.bfloat16)

    def run(self, thread, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loops[thread]).result(60)

    def value(self, size):
        # k and v of one layer, in rows of 1024 values.
        shape = torch.Size([2, 1, size // 4096, 1024])
        value = self.backend.allocate(shape, torch.bfloat16, MemoryFormat.KV_2LTD)
        if value is None:
            raise RuntimeError("no memory")
        return value

    def fill(self, names, size):
        value = self.value(size)
        for name in names:
            self.run(0, self.connectors[0].put(self.key(name), value))
        if not self.run(0, self.connectors[0].exists(self.key(names[-1]))):
            raise RuntimeError("put was lost")
        value.ref_count_down()

    def get(self, bytes, threads, batch, seconds):
        keys = peer_loop.KEYS if bytes < 4 << 20 else 16
        if self.stored != bytes:
            self.fill(list(range(1, keys + 1)), bytes)
            self.stored = bytes

        def one(thread, number):
            value = self.run(thread, self.connectors[thread].get(self.key(1 + (number + thread) % keys)))
            if value is None or value.get_size() != bytes:
                raise RuntimeError("get failed")
            value.ref_count_down()

        return peer_loop.rate(one, threads, seconds, bytes)

    def put(self, bytes, threads, batch, seconds):
        keys = peer_loop.KEYS if bytes < 4 << 20 else 16
        values = [self.value(bytes) for _ in range(threads)]

        def one(thread, number):
            connector = self.connectors[thread]
            name = self.key(1 + (number + thread) % keys)
            self.run(thread, connector.put(name, values[thread]))
            if number % 8 == 7 and not self.run(thread, connector.exists(name)):
                raise RuntimeError("put was lost")

        # Ends with a question to each connection, within the time.
        rate = peer_loop.rate(one, threads, seconds, bytes)
        for value in values:
            value.ref_count_down()
        return rate

    def lookup(self, bytes, threads, batch, seconds):
        names = list(range(10_000, 10_000 + peer_loop.LOOKUP_KEYS))
        if self.stored != "lookup":
            self.fill(names, 4096)
            self.stored = "lookup"

        async def all_of(thread):
            found = 0
            for name in names:
                found += await self.connectors[thread].exists(self.key(name))
            return found

        def one(thread, number):
            if self.run(thread, all_of(thread)) != len(names):
                raise RuntimeError("exists missed")

        return peer_loop.rate(one, threads, seconds, len(names))


if __name__ == "__main__":
    peer_loop.serve(LMCache(sys.argv[1], int(sys.argv[2]), connections=4))
