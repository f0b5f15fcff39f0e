import Foundation
import K3s
import TestSupport
import Testing

@testable import NodeAgent

/// The probe of K3s' health against `openssl s_server`, which asks for the client's certificate as K3s does.
@Suite("the probe of this node's API server", .serialized, .timeLimit(.minutes(1)))
struct ReadyProbeTests {
    /// Two authorities, a server's certificate and a client's, made by openssl(1).
    final class Keys {
        let folder: URL

        init() throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent(
                "probe-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            for authority in ["ca", "other"] {
                try openssl(
                    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=\(authority)"
                        + " -keyout \(authority).key -out \(authority).crt")
            }
            try "subjectAltName=IP:127.0.0.1\n".write(
                to: folder.appendingPathComponent("san"), atomically: true, encoding: .utf8)
            for name in ["server", "client"] {
                try openssl(
                    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name)"
                        + " -keyout \(name).key -out \(name).csr")
                try openssl(
                    "x509 -req -in \(name).csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san"
                        + " -out \(name).crt")
            }
        }

        deinit { try? FileManager.default.removeItem(at: folder) }

        func openssl(_ arguments: String) throws {
            let process = try start(arguments, input: nil)
            process.waitUntilExit()
            try #require(process.terminationStatus == 0, "openssl \(arguments)")
        }

        func start(_ arguments: String, input: Pipe?) throws -> Process {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.arguments = arguments.split(separator: " ").map(String.init)
            process.currentDirectoryURL = folder
            process.standardInput = input ?? FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            return process
        }

        func text(_ name: String) throws -> String {
            try Data(contentsOf: folder.appendingPathComponent(name)).base64EncodedString()
        }

        /// A kubeconfig as K3s writes it.
        func kubeconfig(port: UInt16, authority: String = "ca") throws -> String {
            """
            apiVersion: v1
            clusters:
            - cluster:
                certificate-authority-data: \(try text("\(authority).crt"))
                server: https://127.0.0.1:\(port)
              name: default
            users:
            - name: default
              user:
                client-certificate-data: \(try text("client.crt"))
                client-key-data: \(try text("client.key"))

            """
        }
    }

    private static func probe(_ keys: Keys, _ kubeconfig: String?) throws -> ReadyProbe {
        let folder = keys.folder.appendingPathComponent("etc/rancher/k3s")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try? FileManager.default.removeItem(at: folder.appendingPathComponent("k3s.yaml"))
        try kubeconfig?.write(
            to: folder.appendingPathComponent("k3s.yaml"), atomically: true, encoding: .utf8)
        return ReadyProbe(layout: K3sLayout(root: keys.folder.path))
    }

    @Test("without a kubeconfig, with a damaged one, and without a server, it says what is wrong")
    func nothing() throws {
        let keys = try Keys()
        #expect(try Self.probe(keys, nil).ask()?.hasPrefix("there is no ") == true)
        #expect(try Self.probe(keys, "apiVersion: v1\n").ask()?.contains("no client certificate") == true)
        let port = try #require(LoopbackPort.free())
        #expect(try Self.probe(keys, try keys.kubeconfig(port: port)).ask()?.contains("connecting") == true)
    }

    @Test("a server of the cluster's authority is asked with the administrator's certificate, and no other")
    func answers() throws {
        let keys = try Keys()
        try "ok".write(to: keys.folder.appendingPathComponent("readyz"), atomically: true, encoding: .utf8)
        let port = try #require(LoopbackPort.free())
        let input = Pipe()
        let server = try keys.start(
            "s_server -quiet -accept 127.0.0.1:\(port) -cert server.crt -key server.key -CAfile ca.crt -Verify 1"
                + " -verify_return_error -WWW", input: input)
        defer {
            // Not SIGTERM: the child of a worker thread starts with that blocked.
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        let probe = try Self.probe(keys, try keys.kubeconfig(port: port))
        var said: String? = "never asked"
        // It takes a moment to listen.
        for _ in 0..<20 where said != nil {
            said = probe.ask()
            if said != nil { usleep(50_000) }
        }
        #expect(said == nil, "\(said ?? "")")
        // A server that another authority vouches for is not this cluster's.
        let other = try Self.probe(keys, try keys.kubeconfig(port: port, authority: "other"))
        #expect(other.ask() == "the TLS handshake fails")
    }

    @Test("a server that takes the connection and says nothing costs a second, not more")
    func silence() throws {
        let keys = try Keys()
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 4) == 0
                    && getsockname(listener, $0, &length) == 0
            }
        }
        try #require(isListening)
        let probe = try Self.probe(keys, try keys.kubeconfig(port: UInt16(bigEndian: address.sin_port)))
        let began = ContinuousClock.now
        #expect(probe.ask()?.contains("takes longer than 1000 ms") == true)
        #expect(ContinuousClock.now - began < .seconds(5))
    }
}
