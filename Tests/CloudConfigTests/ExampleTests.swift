import Foundation
import TestSupport
import Testing

@testable import CloudConfig

@Suite("The examples")
struct ExampleTests {
    static let folder = Vectors.repository.appendingPathComponent("cloud-config-examples")
    static let placeholder = "PASTE-THE-OUTPUT-OF-kairos-agent-p2p-token-generate-HERE"

    static var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
            .sorted()) ?? []
    }

    private func text(of name: String) throws -> String {
        try SourceFile(reading: Self.folder.appendingPathComponent(name).path).text
    }

    @Test("there is one for a LAN and one for a single node")
    func present() {
        #expect(Self.names == ["lan.yaml", "single-node.yaml"])
    }

    @Test("every example is valid without a warning once a token is put in", arguments: names)
    func valid(name: String) throws {
        let text = try text(of: name)
        #expect(text.contains(Self.placeholder))
        let node = try NodeConfiguration(
            files: [SourceFile(path: name, text: text.replacing(Self.placeholder, with: Tokens.valid))])
        #expect(node.warnings.isEmpty)
        #expect(node.hostname == "kairoslab-{{ trunc 4 .MachineID }}")
        #expect(node.p2p?.disableDHT == true)
        #expect(node.p2p?.networkToken?.revealed == Tokens.valid)
        #expect(node.p2p?.requiredNodes == (name == "lan.yaml" ? 3 : 1))
    }
}
