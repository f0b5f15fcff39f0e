internal import Testing
internal import Timing

@testable import K3s

@Suite("Supervision of a child process")
struct SupervisionTests {
    var core = Supervision()

    static func at(_ seconds: Double) -> Instant {
        .zero + .seconds(100) + .milliseconds(Int(seconds * 1000))
    }

    @Test("a start spawns once, and the program says when it is up")
    mutating func start() {
        #expect(core.receive(.start, at: Self.at(0)) == [.spawn, .changed])
        #expect(core.receive(.start, at: Self.at(1)) == [])
        #expect(core.status.activity == .activating)
        #expect(core.receive(.ready, at: Self.at(2)) == [.changed])
        #expect(core.receive(.ready, at: Self.at(3)) == [])
        #expect(core.status.activity == .active)
        #expect(core.nextDeadline == nil)
    }

    @Test("a process that ends by itself is started again, later and later, until it stays up")
    mutating func backoff() {
        _ = core.receive(.start, at: Self.at(0))
        var now = 0.0
        for delay in [1.0, 2, 4, 8, 16, 30, 30] {
            #expect(core.receive(.exited(.status(1)), at: Self.at(now)) == [.changed])
            #expect(core.status.detail == "auto-restart" && core.status.failure == "exit status 1")
            #expect(core.nextDeadline == Self.at(now + delay))
            #expect(core.receive(.tick, at: Self.at(now + delay - 0.001)) == [])
            now += delay
            #expect(core.receive(.tick, at: Self.at(now)) == [.spawn, .changed])
        }
        #expect(core.restarts == 7)
        now += 60
        _ = core.receive(.exited(.signal(9)), at: Self.at(now))
        #expect(core.nextDeadline == Self.at(now + 1))
    }

    @Test("a stop asks first and kills after its patience")
    mutating func stop() {
        core.patience = .seconds(3)
        _ = core.receive(.start, at: Self.at(0))
        #expect(core.receive(.stop, at: Self.at(1)) == [.terminate, .changed])
        #expect(core.receive(.stop, at: Self.at(2)) == [])
        #expect(core.receive(.tick, at: Self.at(3.9)) == [])
        #expect(core.receive(.tick, at: Self.at(4)) == [.kill])
        #expect(core.nextDeadline == nil)
        #expect(core.receive(.exited(.signal(9)), at: Self.at(4.1)) == [.changed])
        #expect(core.status.activity == .inactive && core.status.failure == nil)
    }

    @Test("a restart starts after the process has gone, and a later stop wins over it")
    mutating func restart() {
        _ = core.receive(.start, at: Self.at(0))
        #expect(core.receive(.restart, at: Self.at(1)) == [.terminate, .changed])
        #expect(core.receive(.exited(.status(0)), at: Self.at(2)) == [.spawn, .changed])
        _ = core.receive(.restart, at: Self.at(3))
        #expect(core.receive(.stop, at: Self.at(3)) == [])
        #expect(core.receive(.exited(.status(0)), at: Self.at(4)) == [.changed])
        #expect(core.receive(.restart, at: Self.at(5)) == [.spawn, .changed])
    }

    @Test("a start while stopping is not lost, a stop while backing off ends it")
    mutating func crossing() {
        _ = core.receive(.start, at: Self.at(0))
        _ = core.receive(.stop, at: Self.at(0))
        #expect(core.receive(.start, at: Self.at(0)) == [])
        #expect(core.receive(.exited(.status(0)), at: Self.at(1)) == [.spawn, .changed])
        _ = core.receive(.exited(.status(1)), at: Self.at(2))
        #expect(core.receive(.stop, at: Self.at(2)) == [.changed])
        #expect(core.nextDeadline == nil && core.status.activity == .inactive)
    }

    @Test("a program that cannot be executed is tried again later")
    mutating func spawnFailed() {
        _ = core.receive(.start, at: Self.at(0))
        #expect(core.receive(.spawnFailed(2), at: Self.at(0)) == [.changed])
        #expect(core.nextDeadline == Self.at(1))
    }

    @Test("whatever comes in whatever order, a spawn never happens while a process lives", arguments: 0..<100)
    func invariant(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var core = Supervision()
        var isAlive = false
        var now = Instant.zero
        for _ in 0..<300 {
            now += generator.duration(in: .zero ... .seconds(5))
            let inputs: [Supervision.Input] =
                [.start, .stop, .restart, .tick, .ready] + (isAlive ? [.exited(.status(1))] : [])
            let input = inputs.randomElement(using: &generator) ?? .tick
            if case .exited = input { isAlive = false }
            for effect in core.receive(input, at: now) {
                switch effect {
                case .spawn:
                    #expect(!isAlive, "seed \(seed)")
                    isAlive = true
                case .terminate, .kill: #expect(isAlive, "seed \(seed)")
                case .changed: break
                }
            }
        }
    }

    @Test("the tail keeps the last lines, whole or cut, in bounded memory")
    func tail() {
        var tail = OutputTail()
        tail.append("one\ntw".utf8)
        tail.append("o\r\n\nthree".utf8)
        #expect(tail.last(10) == ["one", "two"])
        tail.endLine()
        #expect(tail.last(2) == ["two", "three"])
        tail.append(repeatElement(UInt8(ascii: "x"), count: 5000))
        tail.append("\n".utf8)
        #expect(tail.last(1)[0].utf8.count == OutputTail.longestLine + "…".utf8.count)
        for number in 0..<1000 { tail.append("\(number)\n".utf8) }
        #expect(tail.last(.max).count == OutputTail.capacity && tail.last(1) == ["999"])
    }
}
