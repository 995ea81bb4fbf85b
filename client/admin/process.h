// One child process: started with its output in a file, told by signals, waited for with a
// deadline.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace kdn::admin {

// Starts `argv` in a process group of its own, standard output and error appended to `log_path`,
// standard input empty. kNotFound if the program is not there.
[[nodiscard]] Result<pid_t> StartProcess(const std::vector<std::string>& argv,
                                         const std::string& log_path);

// Whether `pid` is alive and runs the program of this file name: a pid may have been used again.
[[nodiscard]] bool ProcessRuns(pid_t pid, const std::string& program_name);

// Waits until the process is gone, reaping it if it is a child; false at the deadline.
[[nodiscard]] bool WaitGone(pid_t pid, TimePoint deadline);

// Waits until `log_path` has, from `from_offset` on, a whole line that begins with "ready", and
// returns its words. kUnavailable with the log's last lines if the process ends before;
// kDeadlineExceeded.
[[nodiscard]] Result<std::vector<std::string>> WaitReadyLine(pid_t pid, const std::string& log_path,
                                                             std::size_t from_offset,
                                                             TimePoint deadline);

}  // namespace kdn::admin
