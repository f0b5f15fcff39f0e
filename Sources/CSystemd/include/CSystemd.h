#pragma once

// libsystemd as Swift sees it. The calls with variable arguments are not importable; every one of
// them has a counterpart here without (append_basic, read_basic, call_async, sendv), so that no
// shim is needed.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/uio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
