import MeshNetwork
import Testing
import Timing

@testable import VPN

@Suite("Address claims in simulated networks")
struct AddressClaimSimulationTests {
    @Test("Every node settles on its own address within two seconds of the room's answer")
    func coldStart() throws {
        for seed in UInt64(0)..<40 {
            var network = try SimulatedNetwork(count: 10, seed: seed)
            network.start()
            for _ in 0..<40 { network.step(.milliseconds(50), exchanges: 30) }
            network.quiesce(rounds: 2)
            #expect(network.disagreement == nil, "seed \(seed)")
        }
    }

    /// Small subnets make collisions common.
    @Test("No two nodes keep one address after any number of partitions and heals")
    func partitions() throws {
        var moved = 0
        for seed in UInt64(0)..<2500 {
            var generator = SeededGenerator(seed: seed &* 77)
            let count = Int.random(in: 2...7, using: &generator)
            let prefix = Int.random(in: 27...28, using: &generator)
            let configuration = AddressClaim.Configuration(
                subnet: try VirtualSubnet("10.1.0.0/\(prefix)"),
                minimumNodes: Int.random(in: 1...2, using: &generator))
            var network = try SimulatedNetwork(
                count: count, seed: seed, configuration: configuration,
                maximumSkew: Bool.random(using: &generator) ? .zero : .seconds(30))
            if Bool.random(using: &generator) { network.partition(into: 3) }
            network.start()
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                for _ in 0..<Int.random(in: 1...30, using: &generator) {
                    network.step(
                        .milliseconds(Int.random(in: 20...700, using: &generator)),
                        exchanges: Int.random(in: 0...12, using: &generator), loss: 0.2)
                }
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: network.heal()
                case 1: network.partition(into: 2)
                case 2: network.partition(into: 3)
                case 3:
                    network.crash(Int.random(in: 0..<count, using: &generator))
                default:
                    for index in 0..<count where !network.nodes[index].isUp {
                        try network.restart(
                            index, keepingLedger: .random(using: &generator),
                            keepingLease: .random(using: &generator))
                    }
                }
                if Int.random(in: 0..<6, using: &generator) == 0 { network.step(.seconds(600), exchanges: 3) }
            }
            network.heal()
            for index in 0..<count where !network.nodes[index].isUp {
                try network.restart(index, keepingLedger: .random(using: &generator))
            }
            for _ in 0..<10 { network.step(.milliseconds(100), exchanges: 10) }
            network.quiesce(rounds: 10)
            #expect(network.disagreement == nil, "seed \(seed)")
            moved += network.nodes.count { Set($0.history).count > 1 }
        }
        // The test means something only when claims did collide.
        #expect(moved > 100)
    }

    @Test("After a heal the node that claimed first keeps the address and only the other moves")
    func firstKeeps() throws {
        // Four hosts, one set aside, one taken last: the two islands must collide.
        let configuration = AddressClaim.Configuration(
            subnet: try VirtualSubnet("10.1.0.0/29"), minimumNodes: 1)
        var collisions = 0
        for seed in UInt64(0)..<300 {
            var network = try SimulatedNetwork(count: 2, seed: seed, configuration: configuration)
            network.partition(into: 1_000_000)
            network.start(0)
            network.step(.seconds(5), exchanges: 0)
            network.start(1)
            let before = network.nodes.map(\.device)
            guard before[0] == before[1] else { continue }
            collisions += 1
            network.heal()
            network.quiesce()
            #expect(network.disagreement == nil, "seed \(seed)")
            #expect(network.nodes[0].history.count == 1, "seed \(seed)")
            #expect(network.nodes[1].history.count == 2, "seed \(seed)")
        }
        #expect(collisions > 20)
    }

    @Test("A node comes back with its address, whether it kept its ledger, its lease, or neither")
    func comesBack() throws {
        for seed in UInt64(0)..<200 {
            var network = try SimulatedNetwork(count: 4, seed: seed)
            network.start()
            for _ in 0..<20 { network.step(.milliseconds(100), exchanges: 10) }
            network.quiesce()
            let before = network.nodes.map(\.device)
            for (ledger, lease) in [(true, true), (false, true), (true, false), (false, false)] {
                network.crash(1)
                network.step(.seconds(seed.isMultiple(of: 2) ? 1 : 3600), exchanges: 0)
                try network.restart(1, keepingLedger: ledger, keepingLease: lease)
                if lease {
                    // Its own leased address is used at once, before anybody answers.
                    #expect(network.nodes[1].device == before[1], "seed \(seed)")
                }
                network.quiesce()
                #expect(
                    network.nodes.map(\.device) == before, "seed \(seed), ledger \(ledger), lease \(lease)")
                #expect(network.disagreement == nil, "seed \(seed)")
            }
        }
    }

    @Test("A node joining a running network takes no address of another")
    func lateJoiner() throws {
        for seed in UInt64(0)..<100 {
            var network = try SimulatedNetwork(
                count: 12, seed: seed,
                configuration: AddressClaim.Configuration(subnet: try VirtualSubnet("10.1.0.0/28")))
            for index in 0..<12 {
                network.start(index)
                for _ in 0..<8 { network.step(.milliseconds(100), exchanges: 40) }
            }
            network.quiesce()
            #expect(network.disagreement == nil, "seed \(seed)")
        }
    }

    @Test("When the subnet is full the node without an address says so")
    func full() throws {
        var network = try SimulatedNetwork(
            count: 6, seed: 5,
            configuration: AddressClaim.Configuration(subnet: try VirtualSubnet("10.1.0.0/29")))
        network.start()
        for _ in 0..<100 { network.step(.milliseconds(100), exchanges: 20) }
        network.quiesce()
        for _ in 0..<20 { network.step(.seconds(1), exchanges: 20) }
        network.quiesce()
        let without = network.nodes.filter { $0.device == nil }
        #expect(without.count == 1)
        #expect(without.first?.claim.waiting?.what == "a free address in 10.1.0.0/29")
        #expect(Set(network.nodes.compactMap(\.device)).count == 5)
    }

    @Test("A fixed address that a live node holds is waited for, and taken when that node leaves")
    func fixedTaken() throws {
        var network = try SimulatedNetwork(count: 3, seed: 9)
        network.start(0)
        network.start(1)
        for _ in 0..<20 { network.step(.milliseconds(100), exchanges: 10) }
        network.quiesce()
        let held = try #require(network.nodes[0].device)
        try network.setSubnetAddress(of: 2, held)
        network.start(2)
        network.quiesce()
        #expect(network.nodes[2].device == nil)
        let waiting = try #require(network.nodes[2].claim.waiting)
        #expect(waiting.what == "the address \(held), which is taken by the node \(network.nodes[0].name)")
        #expect(waiting.remedy != nil)
        #expect(network.nodes[0].device == held)
        network.give(.release, to: 0)
        for _ in 0..<10 { network.step(.milliseconds(200), exchanges: 10) }
        network.crash(0)
        for _ in 0..<10 { network.step(.milliseconds(200), exchanges: 10) }
        network.quiesce()
        #expect(network.nodes[2].device == held)
    }
}
