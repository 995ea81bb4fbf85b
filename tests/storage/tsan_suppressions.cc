// RocksDB is linked as the system built it: the thread sanitizer does not see the atomics by which
// it hands memory from thread to thread, and takes what its write group and memtable do for races.
// Our own code never shares a string between threads, so strings stand for RocksDB's batches here.

#ifdef __SANITIZE_THREAD__
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "called_from_lib:librocksdb.so\n"
         "race:librocksdb.so\n"
         "race:std::__cxx11::basic_string\n";
}
#endif
