#pragma once

// A stand-in for systemd's manager on a bus of the test's own: it knows one unit, k3s.service, which
// comes up when it is started.

struct systemd_mock;

// Connects to the bus daemon at `address`, takes systemd's name and serves on a thread of its own.
// Negative errno(3) on failure.
int systemd_mock_start(const char *address, struct systemd_mock **mock);

// Ends the service and its connection.
void systemd_mock_stop(struct systemd_mock *mock);

// The calls so far but for reads, one a line: "StartUnit k3s.service replace". The text is valid until the next call.
const char *systemd_mock_calls(struct systemd_mock *mock);
