internal import Foundation
internal import Logging
internal import Testing
internal import Timing

@testable import Systemd

@Suite("Logging and readiness")
struct JournalTests {
    @Test("metadata become fields that journald takes, and none forges a field of the entry")
    func fieldNames() {
        let cases: [(String, String?)] = [
            ("peer", "PEER"), ("round-trip time", "ROUND_TRIP_TIME"), ("_pid", "PID"), ("9lives", "LIVES"),
            ("", nil), ("ä", nil), ("message", nil), ("Priority", nil), ("-", nil),
            (String(repeating: "a", count: 99), String(repeating: "A", count: 64)),
        ]
        for (key, name) in cases { #expect(JournalLogHandler.fieldName(key) == name, "\(key)") }
    }

    @Test("an event is one line whatever is in it")
    func oneLine() {
        let line = LogLine.text(
            "peer\ngone",
            [
                (key: "reason", value: "two words \u{1B}[2J"), (key: "peer", value: "12D3"),
                (key: "e", value: ""),
            ])
        #expect(line == "peer\\ngone reason=\"two words \\x1b[2J\" peer=12D3 e=\"\"")
    }

    @Test("time is written in UTC")
    func timestamp() {
        #expect(StandardErrorLogHandler.timestamp(UnixTime(seconds: 0)) == "1970-01-01T00:00:00.000Z")
        #expect(
            StandardErrorLogHandler.timestamp(UnixTime(nanoseconds: 1_795_391_400_123_456_789))
                == "2026-11-22T23:50:00.123Z")
    }

    @Test("readiness reaches the socket systemd names, one line a state")
    func notify() throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/notify"
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        setenv("NOTIFY_SOCKET", path, 1)
        defer { unsetenv("NOTIFY_SOCKET") }
        ServiceNotification.ready(status: "3 nodes\nREADY=0")
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        #expect(
            String(decoding: buffer[..<max(0, count)], as: UTF8.self) == "READY=1\nSTATUS=3 nodes READY=0")
    }

    @Test("the interval of the watchdog is this process' own")
    func watchdog() {
        setenv("WATCHDOG_USEC", "20000000", 1)
        setenv("WATCHDOG_PID", "\(getpid())", 1)
        #expect(ServiceNotification.watchdogInterval == .seconds(20))
        setenv("WATCHDOG_PID", "1", 1)
        #expect(ServiceNotification.watchdogInterval == nil)
        unsetenv("WATCHDOG_USEC")
        unsetenv("WATCHDOG_PID")
    }

    @Test("the log goes to the journal only when standard error leads there")
    func destination() {
        setenv("JOURNAL_STREAM", "1:1", 1)
        #expect(LogDestination.current == .standardError)
        var status = stat()
        fstat(STDERR_FILENO, &status)
        setenv("JOURNAL_STREAM", "\(status.st_dev):\(status.st_ino)", 1)
        #expect(LogDestination.current == .journal)
        unsetenv("JOURNAL_STREAM")
    }

    @Test("a unit without entries has no last lines")
    func reader() {
        #expect(JournalReader.lastLines(of: "no-such-unit-here.service", count: 5).isEmpty)
    }
}
