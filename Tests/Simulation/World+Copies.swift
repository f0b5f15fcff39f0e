import LibP2P
import Multiformats
import NodeAgent
import Timing

/// Machines with one key, as far as the link tells them of each other.
extension World {
    /// Where the machine is outside the VPN.
    static func address(of index: Int) -> Multiaddr {
        // Each is an address; a failure here is a broken program.
        do { return try Multiaddr("/ip4/192.168.\(index / 200).\(index % 200 + 1)/tcp/4001") } catch {
            fatalError("\(error)")
        }
    }

    /// Every machine announces itself; one with the same key hears it.
    mutating func tellOfCopies() {
        guard machines.contains(where: { $0.copyOf != nil }) else { return }
        for index in machines.indices {
            guard let agent = machines[index].agent,
                agent.heardOwnID.map({ now - $0 >= .seconds(15) }) ?? true
            else { continue }
            let others = machines.indices.filter {
                $0 != index && machines[$0].peer == machines[index].peer && machines[$0].agent != nil
                    && packetsPass($0, index)
            }
            guard !others.isEmpty else { continue }
            agent.heardOwnID = now
            feed(.ownKeyHeard(at: others.map(Self.address)), to: index)
        }
    }

    /// The machine has dialled another one that has its key: both ends prove it.
    mutating func meetOwnKey(_ index: Int, _ other: Int) {
        guard machines[index].agent != nil, machines[other].agent != nil,
            machines[index].peer == machines[other].peer, packetsPass(index, other), packetsPass(other, index)
        else { return }
        let binding = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
        feed(.ownKeyProven(binding: binding, at: Self.address(of: other), isInbound: false), to: index)
        feed(.ownKeyProven(binding: binding, at: Self.address(of: index), isInbound: true), to: other)
    }
}
