/** Keeps the one process running, reaps orphans and renews the lease: PID 1's loop. Plane: control. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

enum { FILES_MAX = 65536 };

static pid_t app = -1;
static int starts;

/* Before the network is up, too: the process waits for NETWORK_PATH (builder/bundle.ts). */
void app_start(void) {
  char starts_text[32];
  sigset_t children, none;
  starts += 1;
  /* Blocked before there is a child, so that no end is missed. */
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  app = fork();
  if (app != 0) return;
  struct rlimit files = {FILES_MAX, FILES_MAX};
  snprintf(starts_text, sizeof starts_text, "MANDALA_STARTS=%d", starts);
  char *arguments[] = {"/bin/node", "/app/mandala.mjs", "appliance", NULL};
  char *environment[] = {"PATH=/bin", "HOME=/run/mandala", "TZ=UTC", "NODE_OPTIONS=--max-semi-space-size=16",
                         "MANDALA_NETWORK=" NETWORK_PATH, starts_text, NULL};
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  setrlimit(RLIMIT_NOFILE, &files);
  int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  execve(arguments[0], arguments, environment);
  say("cannot start %s: %s", arguments[0], strerror(errno));
  _exit(127);
}

void app_stop(void) {
  if (app <= 0) return;
  kill(app, SIGKILL);
  waitpid(app, NULL, 0);
  app = -1;
}

/* Reaps everything that ended; the wait status of the app in `status` and 1 when it was among them. */
static int reap(int *status) {
  int ended = 0;
  for (;;) {
    int one = 0;
    pid_t pid = waitpid(-1, &one, WNOHANG);
    if (pid <= 0) return ended;
    if (pid == app) {
      *status = one;
      ended = 1;
    }
  }
}

static void say_end(int status) {
  if (WIFSIGNALED(status)) {
    say("the process ended by signal %d (start %d)", WTERMSIG(status), starts);
  } else {
    say("the process ended with exit code %d (start %d)", WEXITSTATUS(status), starts);
  }
}

/* Another machine has our address now: the process, which is bound to it, ends, and we ask for a new one. */
static const char *network_again(const struct boot *boot, const struct nic *nic, struct lease *lease) {
  say("the DHCP server took the address back; the process starts again with a new one");
  app_stop();
  /* Asking may take longer than a watchdog waits. */
  watchdog_disarm();
  struct nic again = *nic;
  const char *reason = network_up(boot, &again, lease, DHCP_TOTAL_MS);
  if (reason == NULL) watchdog_arm();
  return reason;
}

static int64_t renew_at(const struct lease *lease) {
  return lease->seconds == UINT32_MAX ? INT64_MAX : now_ms() + (int64_t)lease->renew_seconds * 1000;
}

const char *supervise(const struct boot *boot, const struct nic *nic, struct lease *lease) {
  int64_t ends[APP_ENDS_MAX] = {0};
  int ends_count = 0;
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  int64_t renew = renew_at(lease);
  int64_t restart = INT64_MAX;
  for (;;) {
    int64_t next = renew < restart ? renew : restart;
    int64_t left = next == INT64_MAX ? -1 : next - now_ms();
    struct pollfd waiting = {.fd = signals, .events = POLLIN};
    if (left < 0 && next != INT64_MAX) left = 0;
    poll(&waiting, 1, left < 0 || left > WATCHDOG_FEED_MS ? WATCHDOG_FEED_MS : (int)left);
    watchdog_feed();
    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) == sizeof signal) continue;
    int status = 0;
    if (reap(&status)) {
      app = -1;
      say_end(status);
      /* Started again it would take part again, with the same memory. */
      if (WIFEXITED(status) && WEXITSTATUS(status) == APP_QUARANTINED) return "memory_faults";
      /* The oldest of the last APP_ENDS_MAX ends tells whether they all fell into the window. */
      int64_t oldest = ends[ends_count % APP_ENDS_MAX];
      ends[ends_count % APP_ENDS_MAX] = now_ms();
      ends_count += 1;
      if (ends_count > APP_ENDS_MAX && now_ms() - oldest < APP_ENDS_WINDOW_MS) return "app_keeps_ending";
      restart = now_ms() + (int64_t)APP_PAUSE_MS * (ends_count < APP_ENDS_MAX ? ends_count : APP_ENDS_MAX);
    }
    if (now_ms() >= renew) {
      enum dhcp_answer answer = dhcp_renew(nic, lease);
      /* Divergence from RFC 2131, 4.4.5: a lease that nobody renews is kept, for clusters outlive DHCP servers. */
      renew = answer == DHCP_ACKED ? renew_at(lease) : now_ms() + DHCP_RENEW_RETRY_MS;
      if (answer == DHCP_REFUSED) {
        const char *reason = network_again(boot, nic, lease);
        if (reason != NULL) return reason;
        renew = renew_at(lease);
        restart = now_ms();
      }
    }
    if (now_ms() >= restart) {
      restart = INT64_MAX;
      app_start();
    }
  }
}
