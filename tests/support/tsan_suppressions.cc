// gRPC, Abseil and RocksDB are linked as the system built them: the thread sanitizer does not see
// the atomics by which they hand memory from thread to thread, and takes that for races. Strings
// stand for RocksDB's batches and gRPC's messages; our own code never shares one between threads.
// Exit handlers are RocksDB's, which frees what its threads wrote; we have no statics to destroy.

#ifdef __SANITIZE_THREAD__
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:librocksdb.so\n"
         "race:libgrpc\n"
         "race:libgpr\n"
         "race:libabsl\n"
         "race:librocksdb.so\n"
         "race:__run_exit_handlers\n"
         "race:std::__cxx11::basic_string\n";
}
#endif
