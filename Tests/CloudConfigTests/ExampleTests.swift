import Foundation
import MeshNetwork
import TestSupport
import Testing

@testable import CloudConfig

@Suite("The examples")
struct ExampleTests {
    static let folder = Vectors.repository.appendingPathComponent("cloud-config-examples")
    static let placeholder = "PASTE-THE-OUTPUT-OF-kairos-agent-p2p-token-generate-HERE"

    static let furtherServers = [
        "external-database.yaml": 1, "high-availability.yaml": 2, "kube-vip.yaml": 2,
    ]

    static var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
            .sorted()) ?? []
    }

    private func text(of name: String) throws -> String {
        try SourceFile(reading: Self.folder.appendingPathComponent(name).path).text
    }

    @Test("there is one for each sort of cluster")
    func present() {
        #expect(
            Self.names == [
                "external-database.yaml", "high-availability.yaml", "kube-vip.yaml", "lan.yaml",
                "single-node.yaml", "without-vpn.yaml",
            ])
    }

    @Test("an example whose token was not put in is refused, with the way to one", arguments: names)
    func placeholder(name: String) throws {
        let source = SourceFile(path: name, text: try text(of: name))
        let failure = #expect(throws: ConfigurationFailure.self) { try NodeConfiguration(files: [source]) }
        #expect(failure?.exitCode == 65)
        #expect(failure?.description.contains("kairos-agent p2p token generate") == true)
    }

    @Test("every example is valid without a warning once a token is put in", arguments: names)
    func valid(name: String) throws {
        let text = try text(of: name)
        #expect(text.contains(Self.placeholder))
        let token = try NetworkToken.generate()
        let node = try NodeConfiguration(
            files: [SourceFile(path: name, text: text.replacing(Self.placeholder, with: token.text))])
        #expect(node.warnings.isEmpty)
        #expect(node.hostname == "kairoslab-{{ trunc 4 .MachineID }}")
        #expect(node.p2p?.disableDHT == true)
        #expect(node.p2p?.networkToken == token)
        #expect(node.p2p?.additionalServers == (Self.furtherServers[name] ?? 0))
        #expect((node.p2p?.externalDatabase != nil) == (name == "external-database.yaml"))
        #expect(node.kubeVIP.isEnabled == (name == "kube-vip.yaml"))
        #expect(node.p2p?.vpn.carriesKubernetes == !["kube-vip.yaml", "without-vpn.yaml"].contains(name))
        #expect(node.p2p?.vpn.createsInterface == (name != "without-vpn.yaml"))
        #expect(node.p2p?.requiredNodes == (name == "single-node.yaml" ? 1 : 3))
    }
}
