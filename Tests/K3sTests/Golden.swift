internal import Foundation
internal import TestSupport
internal import Testing

@testable import K3s

/// Texts that are compared with files of `Golden`. With `UPDATE_GOLDEN=1` the files are written
/// instead, for a look at the difference before it is committed.
enum Golden {
    static func expect(_ text: String, _ name: String, at location: SourceLocation = #_sourceLocation) throws
    {
        let file = Vectors.repository.appendingPathComponent("Tests/K3sTests/Golden/\(name).txt")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try Data(text.utf8).write(to: file)
        }
        let golden = try String(decoding: Data(contentsOf: file), as: UTF8.self)
        #expect(text == golden, "differs from Golden/\(name).txt", sourceLocation: location)
    }

    /// Everything a state entails, as one text.
    static func text(of state: DesiredState, binary: String = "/usr/bin/k3s") -> String {
        var text = ""
        for file in state.files(binary: binary) { text += "=== \(file.path)\n\(file.content)" }
        for path in state.absent { text += "=== absent: \(path)\n" }
        text += "=== arguments\n" + state.arguments.map { $0 + "\n" }.joined()
        for warning in state.warnings { text += "=== warning: \(warning.what) (\(warning.remedy))\n" }
        return text
    }
}

/// Pieces of nodes that tests put together.
enum Sample {
    static let token = "4f1c0d7be2a94c6fb0a1d5e67c8390ab4f1c0d7be2a94c6fb0a1d5e67c8390ab"
    static let systemd = DesiredState.Supervision.systemd(agentUnit: "kairos-agent.service")
    static let peer = Array("12D3KooWGm2Zb5Zc3S4zrCTAtcLn8JfSo7SpZUhDs3S8xWcW5BHV".utf8)

    static func facts(
        _ address: String = "10.1.0.11", host: String = "node-11", interface: String = "edgevpn0",
        apiAddress: String? = "10.1.0.2"
    ) throws -> NodeFacts {
        NodeFacts(
            name: NodeName(hostName: host, peerID: peer),
            network: .init(address: try NodeAddress(address), interface: interface),
            apiAddress: try apiAddress.map { try NodeAddress($0) })
    }

    static func founding(
        highlyAvailable: Bool = false, standby: String? = nil, datastore: String? = nil, token: String = token
    ) throws -> K3sRole {
        .foundingServer(
            .init(
                token: try ClusterToken(token), isHighlyAvailable: highlyAvailable,
                externalDatastore: datastore,
                standby: try standby.map { try ServerURL($0) }))
    }

    static func join(_ url: String = "https://10.1.0.2:6443", token: String = token) throws -> K3sRole.Join {
        .init(server: try ServerURL(url), token: try ClusterToken(token))
    }

    static func state(
        _ role: K3sRole, epoch: UInt64 = 1, facts: NodeFacts? = nil, server: UserSettings.Block = .init(),
        agent: UserSettings.Block = .init(), layout: K3sLayout = K3sLayout(),
        supervision: DesiredState.Supervision = systemd
    ) throws -> DesiredState {
        try DesiredState(
            role: role, epoch: epoch, facts: facts ?? Self.facts(),
            settings: UserSettings(server: server, agent: agent),
            layout: layout, supervision: supervision)
    }
}
