import Foundation
import MeshNetwork
import Simulation
import Testing
import Timing

@Suite("Whole nodes under faults")
struct FaultTests {
    @Test("whatever is drawn goes wrong, no promise is broken and order returns", arguments: 0..<6)
    func drawn(block: UInt64) {
        for seed in (block * 10 + 1)...(block * 10 + 10) {
            let outcome = Scenario.drawn(seed: seed).run()
            #expect(outcome.faults > 0)
            #expect(outcome.violations.isEmpty, "seed \(seed), see scripts/test simulate --first \(seed)")
        }
    }

    @Test("a scenario runs the same way every time, event for event")
    func reproducible() throws {
        // In processes of their own, as a seed that failed elsewhere is run again.
        let first = try Self.simulate(["--first", "17", "--seeds", "3", "--timeline"])
        let second = try Self.simulate(["--first", "17", "--seeds", "3", "--timeline"])
        let other = try Self.simulate(["--first", "18", "--seeds", "1", "--timeline"])
        let fingerprints = first.filter { $0.contains("fingerprint") }
        #expect(Set(fingerprints).count == 3)
        #expect(first.count > 50)
        #expect(first.filter { !$0.contains(" events in ") } == second.filter { !$0.contains(" events in ") })
        #expect(other.filter { $0.contains("fingerprint") } == [fingerprints[1]])
    }

    @Test("a drawn quorum is large enough for the machines that may break their word, and can be formed")
    func quorums() {
        for seed in 1...2000 as ClosedRange<UInt64> {
            let scenario = Scenario.drawn(seed: seed)
            var newcomers = 0
            var faithless: Set<Int> = []
            for fault in scenario.faults {
                switch fault.kind {
                case .reimage: newcomers += 1
                case .clone(let machine, _), .lie(let machine, .amnesia), .lie(let machine, .equivocation):
                    faithless.insert(machine)
                default: break
                }
            }
            #expect(2 * scenario.quorum > scenario.count + newcomers + faithless.count)
            #expect(scenario.quorum <= scenario.count)
            #expect((3...9).contains(scenario.count))
        }
    }

    @Test("each promise is checked: what breaks it on purpose is noticed", arguments: Sabotage.allCases)
    func sabotage(_ sabotage: Sabotage) {
        let scenario = Self.scenario(for: sabotage)
        #expect(scenario.run().violations.isEmpty, "it breaks without sabotage, too")
        let checks = Set(scenario.run(sabotage: sabotage).violations.map(\.check))
        #expect(checks.contains(sabotage.noticedBy), "noticed: \(checks)")
    }

    @Test("a failing scenario is shrunk to the faults that matter")
    func shrinking() {
        var scenario = Scenario(seed: 7, count: 4, quorum: 3)
        scenario.faults = [
            Fault(at: .seconds(1), .loss(0.1, lasting: .seconds(2))),
            Fault(at: .seconds(2), .clockJump(1, by: .seconds(60))),
            Fault(at: .seconds(3), .duplication(0.3, lasting: .seconds(2))),
            Fault(at: .seconds(8), .powerCut(2, outage: .seconds(1))),
            Fault(at: .seconds(10), .slow(0, by: .milliseconds(100), lasting: .seconds(1))),
        ]
        for machine in 0..<4 {
            scenario.faults.append(Fault(at: .seconds(12), .powerCut(machine, outage: .seconds(2))))
        }
        let small = scenario.shrunk(breaking: .oneCluster, sabotage: .datastoreForgotten)
        // Only the founder's power cuts matter, and of those one.
        #expect(small.faults.count == 1, "\(small.faults)")
        if case .powerCut = small.faults.first?.kind {} else { Issue.record("\(small.faults)") }
        let checks = small.run(sabotage: .datastoreForgotten).violations.map(\.check)
        #expect(checks.contains(.oneCluster))
    }

    @Test("a founder whose disk is full when it makes the join token makes it when there is room")
    func tokenOnFullDisk() throws {
        var plain = World(Scenario(seed: 12, count: 1, quorum: 1), records: true)
        plain.run(for: .seconds(10))
        let line = try #require(plain.timeline.first { $0.contains("knows decree 1") })
        let decided = try #require(Double(String(line.drop { $0 == " " }.prefix { $0 != "s" })))
        var hits = 0
        for offset in 0..<10 {
            var scenario = Scenario(seed: 12, count: 1, quorum: 1)
            let at = Duration.milliseconds(Int64(decided * 1000) + Int64(offset))
            scenario.faults = [Fault(at: at, .fullDisk(0, lasting: .seconds(3)))]
            var world = World(scenario, records: true)
            world.run(for: at + .seconds(2))
            if world.waiting(0).contains(where: { $0.what == "the join token to be written to disk" }) {
                hits += 1
            }
            world.run(for: .seconds(20))
            #expect(world.disorder.isEmpty, "\(offset) ms: \(world.disorder)")
            #expect(world.violations.isEmpty)
        }
        #expect(hits > 0, "no run had the disk full at the right time")
    }

    /// What the program `simulate` prints on one thread; it lies beside the tests' own.
    private static func simulate(_ arguments: [String]) throws -> [String] {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: own).deletingLastPathComponent()
            .appendingPathComponent("simulate")
        process.arguments = arguments + ["--jobs", "1"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// Four machines, and the faults that a sabotage needs to show.
    private static func scenario(for sabotage: Sabotage) -> Scenario {
        var scenario = Scenario(seed: 11, count: 4, quorum: 3)
        switch sabotage {
        case .quorumOfOne:
            // Apart from the start, each half would be enough for itself.
            scenario.faults = [Fault(at: .zero, .partition(group: [0, 1], lasting: .seconds(8)))]
        case .datastoreForgotten, .addressMovesAtRestart:
            scenario.faults = (0..<4).map {
                Fault(at: .seconds(8 + Int64($0)), .powerCut($0, outage: .seconds(2)))
            }
        case .partitionStays:
            scenario.faults = [Fault(at: .seconds(1), .partition(group: [0], lasting: .seconds(5)))]
        case .oneServerMore, .learnersVote, .clockStops: scenario.additionalServers = 2
        case .illnessHidden:
            scenario.additionalServers = 1
            // Whoever is the holder.
            scenario.faults = (0..<4).map { Fault(at: .seconds(20), .illAPI($0, lasting: .seconds(10))) }
        case .restartUnasked:
            scenario.additionalServers = 2
            scenario.faults = [Fault(at: .seconds(40), .newArguments)]
        case .certificateNotKept, .oneAddressForAll, .votesForgotten: break
        }
        return scenario
    }
}
