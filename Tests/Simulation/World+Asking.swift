package import Coordination
package import MeshNetwork
import NodeAgent
package import VPN

/// What tests do by hand and ask.
extension World {
    package var count: Int { machines.count }

    /// The role that the node obeys.
    package func role(_ index: Int) -> NodeRole? { machines[index].agent?.core.plan.role }

    /// Whether every running node knows that the members have agreed that the machine is gone.
    package func isForgotten(_ index: Int) -> Bool {
        let peer = machines[index].peer
        return machines.allSatisfy { machine in
            machine.peer == peer || machine.agent?.core.forgotten.keys.contains(peer) != false
        }
    }

    /// The address that the node may use.
    package func address(_ index: Int) -> VirtualAddress? { machines[index].agent?.core.address }

    package func warnings(_ index: Int) -> [String] { machines[index].agent?.core.warnings ?? [] }

    package func waiting(_ index: Int) -> [Waiting] { machines[index].agent?.core.waiting ?? [] }

    /// To how many addresses the node has routes.
    package func routes(_ index: Int) -> Int { machines[index].agent?.routes.count ?? 0 }

    /// Whether the machine carries the API address.
    package func holdsAPIAddress(_ index: Int) -> Bool { holdsAPI(index) }

    /// How often the agent has started or restarted K3s.
    package func k3sStarts(_ index: Int) -> Int { machines[index].k3sStarts }

    /// Whether K3s of the machine is up.
    package func k3sIsReady(_ index: Int) -> Bool { machines[index].k3s.process?.isReady ?? false }
}
