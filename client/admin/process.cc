#include "client/admin/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace kdn::admin {
namespace {

int MillisecondsUntil(TimePoint deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

std::string ReadFrom(const std::string& path, std::size_t offset) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> WordsOfReadyLine(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    // A line that is still being written has no end yet.
    if (lines.eof() || !line.starts_with("ready")) continue;
    std::istringstream words(line);
    std::vector<std::string> found;
    for (std::string word; words >> word;) found.push_back(word);
    return found;
  }
  return {};
}

bool IsChildGone(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, WNOHANG) == pid;
}

}  // namespace

Result<pid_t> StartProcess(const std::vector<std::string>& argv, const std::string& log_path) {
  if (access(argv.front().c_str(), X_OK) != 0) {
    return Error(Code::kNotFound, "no program " + argv.front());
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, argv.front().c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return Error(Code::kInternal, "cannot start " + argv.front() + ": " + std::strerror(error));
  }
  return pid;
}

bool ProcessRuns(pid_t pid, const std::string& program_name) {
  if (pid <= 0) return false;
  // What it was started as: the file behind /proc/PID/exe may have been built anew meanwhile.
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  std::string started_as;
  std::getline(file, started_as, '\0');
  return std::filesystem::path(started_as).filename() == program_name;
}

bool WaitGone(pid_t pid, TimePoint deadline) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno == ESRCH;
  pollfd wait{fd, POLLIN, 0};
  const bool gone = poll(&wait, 1, MillisecondsUntil(deadline)) == 1;
  close(fd);
  if (gone) (void)IsChildGone(pid);  // Reaps it if it is a child.
  return gone;
}

Result<std::vector<std::string>> WaitReadyLine(pid_t pid, const std::string& log_path,
                                               std::size_t from_offset, TimePoint deadline) {
  const int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  inotify_add_watch(notify, log_path.c_str(), IN_MODIFY);
  Result<std::vector<std::string>> result = Error(Code::kDeadlineExceeded, "not ready in time");
  for (;;) {
    const std::string text = ReadFrom(log_path, from_offset);
    if (auto words = WordsOfReadyLine(text); !words.empty()) {
      result = std::move(words);
      break;
    }
    pollfd waits[2] = {{notify, POLLIN, 0}, {process, POLLIN, 0}};
    if (poll(waits, 2, MillisecondsUntil(deadline)) <= 0) break;
    if (waits[1].revents != 0 || process < 0) {
      const std::size_t tail = text.size() > 600 ? text.size() - 600 : 0;
      result = Error(Code::kUnavailable, "ended before it was ready: " + text.substr(tail));
      break;
    }
    char events[4096];
    [[maybe_unused]] const ssize_t drained = read(notify, events, sizeof(events));
  }
  close(notify);
  if (process >= 0) close(process);
  return result;
}

}  // namespace kdn::admin
