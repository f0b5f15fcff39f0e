import CSignatureMemo
import Foundation
import Simulation
import Synchronization
import Timing

// simulate [--seeds N] [--first S] [--jobs J] [--timeline]: runs seeds S, S+1, … and ends with 1 when any
// breaks a promise, after printing the smallest list of faults that still does, and what then happens.

// The order in which sets and dictionaries are walked is part of a run. Swift draws it anew for every
// process unless this is set when the process begins.
let name = "SWIFT_DETERMINISTIC_HASHING"
if ProcessInfo.processInfo.environment[name] != "1" {
    setenv(name, "1", 1)
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
    arguments.append(nil)
    execv("/proc/self/exe", arguments)
    perror("execv")
    exit(71)
}

struct Usage: Error {}

struct Settings {
    var seeds: UInt64 = 2000
    var first: UInt64 = 1
    var jobs = ProcessInfo.processInfo.activeProcessorCount
    var timeline = false

    init(_ words: [String]) throws {
        var words = words[...]
        while let word = words.popFirst() {
            if word == "--timeline" {
                timeline = true
                continue
            }
            guard let value = words.popFirst().flatMap({ UInt64($0) }) else { throw Usage() }
            switch word {
            case "--seeds": seeds = value
            case "--first": first = value
            case "--jobs": jobs = Int(clamping: max(1, min(value, 64)))
            default: throw Usage()
            }
        }
    }
}

struct Tally {
    var next: UInt64
    var runs = 0
    var failed: [UInt64] = []
    var faults: [String: Int] = [:]
    var events = 0
    var unfinished = 0
    var recoveries: [Double] = []
}

func describe(_ outcome: Outcome) {
    guard let worst = outcome.violations.first else { return }
    let scenario = outcome.scenario
    print("\nFAILED: seed \(scenario.seed): \(worst)")
    fflush(nil)
    let small = scenario.shrunk(breaking: worst.check)
    let again = small.run(records: true)
    print("with \(small.count) machines, a quorum of \(small.quorum), and these faults:")
    for fault in small.faults { print("  \(fault)") }
    if !small.clockSkew.isEmpty || !small.forced.isEmpty {
        print("  clocks off: \(small.clockSkew), forced roles: \(small.forced)")
    }
    print("what happens then:")
    for line in again.timeline.prefix(400) { print("  \(line)") }
    for violation in again.violations { print("  \(violation)") }
}

let settings: Settings
do { settings = try Settings(Array(CommandLine.arguments.dropFirst())) } catch {
    FileHandle.standardError.write(
        Data("usage: simulate [--seeds N] [--first S] [--jobs J] [--timeline]\n".utf8))
    exit(64)
}
let began = ContinuousClock.now
let tally = Mutex(Tally(next: settings.first))
let (end, overflow) = settings.first.addingReportingOverflow(settings.seeds)
let last = overflow ? UInt64.max : end

let workers = (0..<settings.jobs).map { _ in
    let thread = Thread {
        while let seed = tally.withLock({ tally -> UInt64? in
            // After so many failures the next one says nothing new.
            guard tally.next < last, tally.failed.count < 5 else { return nil }
            tally.next += 1
            return tally.next - 1
        }) {
            let scenario = Scenario.drawn(seed: seed)
            let outcome = scenario.run(records: settings.timeline)
            tally.withLock { tally in
                tally.runs += 1
                tally.events += outcome.events
                for fault in scenario.faults { tally.faults[fault.name, default: 0] += 1 }
                if let recovery = outcome.recovery {
                    tally.recoveries.append(recovery.inSeconds)
                } else {
                    tally.unfinished += 1
                }
                if tally.runs.isMultiple(of: 1000) {
                    print("\(tally.runs) runs after \(ContinuousClock.now - began)")
                    fflush(nil)
                }
                if settings.timeline {
                    for line in outcome.timeline { print(line) }
                    print("seed \(seed): fingerprint \(String(outcome.fingerprint, radix: 16))")
                }
                guard !outcome.violations.isEmpty else { return }
                tally.failed.append(seed)
                describe(outcome)
                fflush(nil)
            }
            signature_memo_clear()
        }
        finished.signal()
    }
    // Deep recursion through effects; the default of 8 MiB is that of the main thread only.
    thread.stackSize = 16 << 20
    return thread
}
let finished = DispatchSemaphore(value: 0)
for worker in workers { worker.start() }
for _ in workers { finished.wait() }

tally.withLock { tally in
    let took = (ContinuousClock.now - began).inSeconds
    let sorted = tally.recoveries.sorted()
    print(
        "\(tally.runs) runs, \(tally.faults.values.reduce(0, +)) faults, \(tally.events) events in"
            + " \(Int(took)) s on \(settings.jobs) threads; \(tally.failed.count) failed")
    for (name, count) in tally.faults.sorted(by: { $0.key < $1.key }) { print("  \(count) × \(name)") }
    if !sorted.isEmpty {
        print(
            "order returned \(sorted[sorted.count / 2]) s (median) and \(sorted[sorted.count - 1]) s (worst)"
                + " after the last fault; \(tally.unfinished) runs had lost their server for good")
    }
    for seed in tally.failed { print("again with: simulate --first \(seed) --seeds 1 --timeline") }
    exit(tally.failed.isEmpty ? 0 : 1)
}
