import Foundation
import LibP2P
import Testing

@testable import NodeAgent

@Suite("The administrator's kubeconfig")
struct KubeconfigTests {
    /// As K3s writes it; the data spell "the CA", "the certificate" and "the key".
    static let text = """
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: dGhlIENB
            server: https://127.0.0.1:6443
          name: default
        users:
        - name: default
          user:
            client-certificate-data: dGhlIGNlcnRpZmljYXRl
            client-key-data: dGhlIGtleQ==

        """

    private func read(_ text: String?) throws -> Kubeconfig {
        let path = FileManager.default.temporaryDirectory.path + "/kubeconfig-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try text.map { try Data($0.utf8).write(to: URL(fileURLWithPath: path)) }
        return try Kubeconfig(reading: path)
    }

    @Test("stock tools find it in base64url without padding, at what leads to a server")
    func published() throws {
        func published(_ text: String?, at name: String?) throws -> String? {
            let path = FileManager.default.temporaryDirectory.path + "/published-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: path) }
            try text.map { try Data($0.utf8).write(to: URL(fileURLWithPath: path)) }
            return PublishedKubeconfig.text(reading: path, serverName: name)
        }
        // base64.urlsafe_b64encode(b"server: https://10.1.0.2:6443\n~\xc3\xbf?\n").rstrip(b"=")
        let known = "c2VydmVyOiBodHRwczovLzEwLjEuMC4yOjY0NDMKfsO_Pwo"
        #expect(try published("server: https://127.0.0.1:6443\n~ÿ?\n", at: "10.1.0.2") == known)
        #expect(try published("server: https://10.1.0.2:6443\n~ÿ?\n", at: nil) == known)
        let named = try #require(try published(Self.text, at: "fd00::2"))
        #expect(!named.contains("=") && !named.contains("+") && !named.contains("/"))
        let padded =
            named.replacing("-", with: "+").replacing("_", with: "/")
            + String(repeating: "=", count: (4 - named.utf8.count % 4) % 4)
        let decoded = try #require(Data(base64Encoded: padded))
        #expect(
            String(decoding: decoded, as: UTF8.self)
                == Self.text.replacing("https://127.0.0.1:6443", with: "https://[fd00::2]:6443"))
        #expect(try published(nil, at: nil) == nil)
        #expect(try published("no kubeconfig\n", at: nil) == nil)
        let large = "server: https://h:1\n" + String(repeating: "#", count: PublishedKubeconfig.largest)
        #expect(try published(large, at: nil) == nil)
    }

    @Test("what a probe needs is read")
    func credentials() throws {
        let credentials = try #require(AdminCredentials(try read(Self.text)))
        #expect(credentials.host == "127.0.0.1" && credentials.port == 6443)
        #expect(credentials.authority == Array("the CA".utf8))
        #expect(credentials.certificate == Array("the certificate".utf8))
        #expect(credentials.key.withUnsafeBytes { Array($0) } == Array("the key".utf8))
        let other = Self.text.replacing("https://127.0.0.1:6443", with: "https://[::1]:7443")
        #expect(AdminCredentials(try read(other))?.host == "::1")
    }

    @Test(
        "one that lacks anything is none",
        arguments: [
            ("server: https", "server: http"), (":6443", ""), (":6443", ":70000"), ("dGhlIENB", ""),
            ("dGhlIENB", "dGhlIEN"), ("dGhlIGtleQ==", "dGhl*GtleQ=="), ("client-key-data", "client-key"),
            ("dGhlIGtleQ==", "===="), ("dGhlIGtleQ==", "dGh=IGtleQ=="),
        ])
    func lacking(found: String, instead: String) throws {
        #expect(AdminCredentials(try read(Self.text.replacing(found, with: instead))) == nil)
    }

    @Test("the server's address is put in the place of the node's own, and nothing else changes")
    func readdressed() throws {
        let kubeconfig = try read(Self.text)
        var shown = ""
        kubeconfig.withText { before, after in
            shown =
                String(decoding: before, as: UTF8.self) + kubeconfig.server(at: "10.1.0.2")
                + String(decoding: after, as: UTF8.self)
        }
        #expect(shown == Self.text.replacing("127.0.0.1", with: "10.1.0.2"))
        #expect(kubeconfig.server(at: "fd00::1") == "https://[fd00::1]:6443")
    }

    @Test("what is no kubeconfig is refused with its cause")
    func refused() throws {
        #expect { try read(nil) } throws: { error in
            guard let failure = error as? Kubeconfig.Failure, case .missing = failure else { return false }
            return failure.exitCode == 69
        }
        for text in ["", "apiVersion: v1\n", "server: \n", String(repeating: "x", count: 70_000)] {
            #expect { try read(text) } throws: { error in
                if case .noServer? = error as? Kubeconfig.Failure { true } else { false }
            }
        }
        #expect { try Kubeconfig(reading: "/") } throws: { error in
            if case .unreadable? = error as? Kubeconfig.Failure { true } else { false }
        }
    }
}
