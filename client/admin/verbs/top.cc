#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/top_view.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

struct TopArguments {
  double interval_s = 2.0;
  bool once = false;
};

volatile std::sig_atomic_t stop_asked = 0;
void OnStop(int) {
  stop_asked = 1;
}

// The terminal while frames are drawn: keys come at once and unseen, the cursor is hidden. As it
// was before once this is gone.
class Screen {
 public:
  Screen() : keys_(isatty(STDIN_FILENO) != 0), draws_(isatty(STDOUT_FILENO) != 0) {
    if (keys_ && tcgetattr(STDIN_FILENO, &before_) == 0) {
      termios raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (draws_) std::fputs("\x1b[?25l\x1b[2J", stdout);
  }
  ~Screen() {
    if (keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    if (draws_) std::fputs("\x1b[?25h", stdout);
    std::fflush(stdout);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] std::size_t columns() const {
    winsize size{};
    const bool known = draws_ && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 1000;
  }

  // Over the last one, without flicker: each line clears its rest, the last one what is below.
  void Show(const std::string& frame) const {
    if (!draws_) {
      std::printf("%s\n", frame.c_str());
    } else {
      std::fputs("\x1b[H", stdout);
      for (const char c : frame) {
        if (c == '\n') std::fputs("\x1b[K", stdout);
        std::putchar(c);
      }
      std::fputs("\x1b[J", stdout);
    }
    std::fflush(stdout);
  }

  // False if somebody wants it to end: q, Ctrl-C or SIGTERM.
  [[nodiscard]] bool Wait(double seconds) const {
    pollfd key{keys_ ? STDIN_FILENO : -1, POLLIN, 0};
    poll(&key, 1, static_cast<int>(seconds * 1e3));
    char pressed = 0;
    if ((key.revents & POLLIN) != 0 && read(STDIN_FILENO, &pressed, 1) == 1 && pressed == 'q') {
      return false;
    }
    return stop_asked == 0;
  }

 private:
  bool keys_;
  bool draws_;
  termios before_{};
};

// Two looks, far enough apart for nodes to have told something new.
int RunOnce(const VerbContext& context, const CoordinatorRpc& rpc, double interval_s) {
  const auto before = rpc.Overview();
  if (!before) return PrintError(before.error());
  poll(nullptr, 0, static_cast<int>(interval_s * 1e3));
  const auto now = rpc.Overview();
  if (!now) return PrintError(now.error());
  const nlohmann::json top = TopJson(*before, *now);
  if (context.json()) {
    PrintJson(top);
  } else {
    std::fputs(TopText(top, 1000).c_str(), stdout);
  }
  return 0;
}

int Run(const VerbContext& context, const TopArguments& arguments) {
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  if (arguments.once) return RunOnce(context, *rpc, arguments.interval_s);
  auto before = rpc->Overview();
  if (!before) return PrintError(before.error());
  std::signal(SIGINT, OnStop);
  std::signal(SIGTERM, OnStop);
  const Screen screen;
  while (screen.Wait(arguments.interval_s)) {
    auto now = rpc->Overview();
    if (!now) {  // It may come back: the last frame goes, and what is wrong stands there.
      screen.Show(now.error().ToString() + "\n");
      continue;
    }
    const nlohmann::json top = TopJson(*before, *now);
    screen.Show(context.json() ? top.dump() : TopText(top, screen.columns()));
    before = std::move(now);
  }
  return 0;
}

}  // namespace

void AddTopVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "top", "What the cluster is doing, again and again until q or Ctrl-C is pressed");
  auto arguments = std::make_shared<TopArguments>();
  verb->add_option("--interval", arguments->interval_s, "seconds between frames")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  verb->add_flag("--once", arguments->once, "one frame over one interval, and end");
  verb->footer(
      "Rates and latencies are of the last interval. shed/s counts what was told to come back "
      "later "
      "and puts that were refused; puts are counted in pieces of 1 MiB at most. A dead node keeps "
      "its "
      "last sizes and has no rates. Without a terminal frames follow each other.");
  verb->callback([&context, arguments] { context.exit_code = Run(context, *arguments); });
}

}  // namespace kdn::admin
