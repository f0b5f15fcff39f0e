import Foundation
import K3s
import Synchronization
import TestSupport
import Testing
import Timing

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
            try start("/usr/bin/openssl", arguments.split(separator: " ").map(String.init), input: input)
        }

        /// A server of HTTP/1.1 that keeps connections, and adds a line to the file `accepted` for each.
        func startKeepingServer(port: UInt16) throws -> Process {
            let script = """
                import http.server, socketserver, ssl
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain("server.crt", "server.key")
                context.load_verify_locations("ca.crt")
                context.verify_mode = ssl.CERT_REQUIRED
                class Handler(http.server.BaseHTTPRequestHandler):
                    protocol_version = "HTTP/1.1"
                    def do_GET(self):
                        self.send_response(200)
                        self.send_header("Content-Length", "2")
                        self.end_headers()
                        self.wfile.write(b"ok")
                class Server(socketserver.ThreadingTCPServer):
                    allow_reuse_address, daemon_threads = True, True
                    def get_request(self):
                        channel, address = self.socket.accept()
                        open("accepted", "a").write("one\\n")
                        return context.wrap_socket(channel, True, do_handshake_on_connect=False), address
                Server(("127.0.0.1", \(port)), Handler).serve_forever()
                """
            return try start("/usr/bin/python3", ["-c", script], input: nil)
        }

        var accepted: Int {
            let text = try? String(contentsOf: folder.appendingPathComponent("accepted"), encoding: .utf8)
            return text?.split(separator: "\n").count ?? 0
        }

        private func start(_ path: String, _ arguments: [String], input: Pipe?) throws -> Process {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: path)
            process.arguments = arguments
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

    /// Time that a test sets.
    private final class SetTime: TimeSource {
        private let offset = Mutex(Duration.zero)
        func shift(by duration: Duration) { offset.withLock { $0 += duration } }
        func now() -> Instant { SystemTime().now() + offset.withLock { $0 } }
        func wallClock() -> UnixTime { SystemTime().wallClock() }
    }

    private static func end(_ server: Process) {
        // Not SIGTERM: the child of a worker thread starts with that blocked.
        kill(server.processIdentifier, SIGKILL)
        server.waitUntilExit()
    }

    /// Asks until it is well: a server takes a moment to listen.
    private static func wait(for probe: ReadyProbe) -> String? {
        var said: String? = "never asked"
        for _ in 0..<60 where said != nil {
            said = probe.ask()
            if said != nil { usleep(50_000) }
        }
        return said
    }

    @Test("a connection serves many questions, for a minute, and never hides what became of the server")
    func keeping() throws {
        let keys = try Keys()
        let port = try #require(LoopbackPort.free())
        var server = try keys.startKeepingServer(port: port)
        defer { Self.end(server) }
        let time = SetTime()
        let kubeconfig = try keys.kubeconfig(port: port)
        let probe = try Self.probe(keys, kubeconfig, time: time)
        #expect(Self.wait(for: probe) == nil)
        let before = keys.accepted
        for _ in 0..<5 { #expect(probe.ask() == nil) }
        #expect(keys.accepted == before)
        time.shift(by: .seconds(61))
        #expect(probe.ask() == nil)
        #expect(keys.accepted == before + 1)

        kill(server.processIdentifier, SIGSTOP)
        #expect(probe.ask()?.contains("takes longer than 1000 ms") == true)
        kill(server.processIdentifier, SIGCONT)
        #expect(Self.wait(for: probe) == nil)
        Self.end(server)
        #expect(probe.ask()?.contains("connecting") == true)
        server = try keys.startKeepingServer(port: port)
        #expect(Self.wait(for: probe) == nil)
        // One that was started anew meanwhile has closed the connection: that is no news.
        Self.end(server)
        server = try keys.startKeepingServer(port: port)
        let other = try Self.probe(keys, kubeconfig, time: time)
        #expect(Self.wait(for: other) == nil)
        #expect(probe.ask() == nil)
        // Another kubeconfig counts at once.
        _ = try Self.probe(keys, try keys.kubeconfig(port: port, authority: "other"))
        #expect(probe.ask() == "the TLS handshake fails")
    }

    @Test("an answer is read to its end, and the connection kept only where both ends know where that is")
    func answersOfHTTP() throws {
        func read(_ text: String) -> HTTPAnswer? { HTTPAnswer(Array(text.utf8)) }
        #expect(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n") == nil)
        let kept = try #require(read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
        #expect(kept.status == "200" && kept.bodyLength == 2 && kept.isKept && kept.length == 38)
        #expect(read("HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?.isKept == false)
        #expect(read("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n")?.isKept == false)
        for length in ["", "-1", "two", "99999999999999999999", "5, 5"] {
            let answer = try #require(read("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n"))
            #expect(answer.bodyLength == nil && !answer.isKept)
        }
        #expect(read("\r\n\r\n")?.status == "nothing")
        #expect(read("HTTP/1.1\r\n\r\n")?.status == "nothing")
    }

    private static func probe(
        _ keys: Keys, _ kubeconfig: String?, time: any TimeSource = SystemTime()
    ) throws -> ReadyProbe {
        let folder = keys.folder.appendingPathComponent("etc/rancher/k3s")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try? FileManager.default.removeItem(at: folder.appendingPathComponent("k3s.yaml"))
        try kubeconfig?.write(
            to: folder.appendingPathComponent("k3s.yaml"), atomically: true, encoding: .utf8)
        return ReadyProbe(layout: K3sLayout(root: keys.folder.path), time: time)
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
        defer { Self.end(server) }
        let probe = try Self.probe(keys, try keys.kubeconfig(port: port))
        let said = Self.wait(for: probe)
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
