import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing
import Timing

@testable import AgentAPI

@Suite("The API on its socket", .timeLimit(.minutes(1)))
struct APIServerTests {
    /// Runs a server at `path` while `body` runs.
    private func withServer(
        at path: String, source: FixedSource = FixedSource(), idleTimeout: TimeAmount = .seconds(30),
        _ body: (UnixSocket) async throws -> Void
    ) async throws {
        let socket = UnixSocket(path: path)
        let server = APIServer(
            socket: socket, status: source, ledger: source, clock: FixedTime(wall: Samples.moment),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, idleTimeout: idleTimeout,
            logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            try await waitUntil("the socket is there") { socket.inode != nil }
            try await body(socket)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private func client(_ socket: UnixSocket, timeout: TimeAmount = .seconds(5)) -> APIClient {
        APIClient(socket: socket, timeout: timeout, eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
    }

    private func expectStatus(_ client: APIClient) async throws {
        let status = try await client.status()
        #expect(status == Samples.ready)
    }

    private func waitUntil(_ what: String, _ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(10)
        while !condition() {
            try #require(ContinuousClock.now < end, "waited for: \(what)")
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode : 0
    }

    @Test("a client gets the status over a socket that only its owner can open, which is gone afterwards")
    func status() async throws {
        try await withDirectory { directory in
            let path = directory + "/run/api.sock"
            try await withServer(at: path) { socket in
                #expect(mode(path) == S_IFSOCK | 0o600)
                #expect(mode(path + ".new") == 0)
                try await expectStatus(client(socket))
                let (code, body) = try await client(socket).get("/nothing")
                #expect(code == 404)
                #expect(String(buffer: body) == "{\"message\":\"Not Found\"}\n")
            }
            #expect(mode(path) == 0)
        }
    }

    @Test("an answer says when it was given, in the form of HTTP")
    func date() async throws {
        #expect(UnixTime(seconds: 784_111_777).httpDate == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(UnixTime(nanoseconds: -1).httpDate == "Wed, 31 Dec 1969 23:59:59 GMT")
        try await withDirectory { directory in
            try await withServer(at: directory + "/api.sock") { socket in
                let request = "GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                let answer = try await raw(request, to: socket.path)
                #expect(answer.contains("\r\nDate: \(Samples.moment.httpDate)\r\n"), "\(answer.prefix(400))")
            }
        }
    }

    @Test("the last status stays on disk for when the agent is gone, readable by its owner only")
    func record() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            try await withServer(at: path) { _ in }
            #expect(mode(directory + "/api.status.json") == S_IFREG | 0o600)
            #expect(StatusRecord(besideSocket: UnixSocket(path: path)).read() == Samples.ready)
            try Data("{\"format\"".utf8).write(to: URL(fileURLWithPath: directory + "/api.status.json"))
            #expect(StatusRecord(besideSocket: UnixSocket(path: path)).read() == nil)
        }
    }

    @Test("a socket that nobody listens on is replaced")
    func stale() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            for name in [path, path + ".new"] {
                let left = try listen(at: name)
                close(left)
            }
            #expect(mode(path) & S_IFMT == S_IFSOCK)
            let before = UnixSocket(path: path).inode
            let socket = UnixSocket(path: path)
            try socket.prepare()
            #expect(socket.inode == nil && before != nil)
            try await withServer(at: path) { try await expectStatus(client($0)) }
        }
    }

    @Test("a socket that somebody listens on is left alone, and the error says what to do")
    func alive() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            let other = try listen(at: path)
            defer { close(other) }
            let problem = #expect(throws: UnixSocket.Problem.self) { try UnixSocket(path: path).prepare() }
            #expect(problem == .inUse(path: path))
            #expect(problem?.exitCode == 69)
            #expect(problem?.description.contains("stop the other agent") == true)
            #expect(mode(path) & S_IFMT == S_IFSOCK)
        }
    }

    @Test("a second server on the same socket fails and the first one goes on")
    func second() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            try await withServer(at: path) { socket in
                await #expect(throws: UnixSocket.Problem.inUse(path: path)) {
                    try await withServer(at: path) { _ in }
                }
                try await expectStatus(client(socket))
            }
        }
    }

    @Test("what is no socket is left alone")
    func notASocket() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            try Data("precious".utf8).write(to: URL(fileURLWithPath: path))
            let problem = #expect(throws: UnixSocket.Problem.self) { try UnixSocket(path: path).prepare() }
            #expect(problem == .notASocket(path: path))
            #expect(problem?.exitCode == 73)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
        }
    }

    @Test("a path that no socket can have is refused before anything is made")
    func longPath() async throws {
        try await withDirectory { directory in
            let path = directory + "/" + String(repeating: "x", count: 90) + "/api.sock"
            let problem = #expect(throws: UnixSocket.Problem.self) { try UnixSocket(path: path).prepare() }
            #expect(problem?.exitCode == 78)
            #expect(problem?.description.contains("shorter root") == true)
            let made = try FileManager.default.contentsOfDirectory(atPath: directory)
            #expect(made.isEmpty)
        }
    }

    @Test("the longest path that is not refused can be served")
    func longestPath() async throws {
        try await withDirectory { directory in
            let room = UnixSocket.maximumLength - directory.utf8.count - 1
            try #require(room > 0, "the directory's own path is too long for this test: \(directory)")
            try await withServer(at: directory + "/" + String(repeating: "s", count: room)) { socket in
                try await expectStatus(client(socket))
            }
        }
    }

    @Test("a folder that cannot be made is an error with the system's reason")
    func noFolder() async throws {
        let problem = #expect(throws: UnixSocket.Problem.self) {
            try UnixSocket(path: "/proc/x/api.sock").prepare()
        }
        #expect(problem?.description.contains("No such file") == true)
        #expect(UnixSocket.ofAgent(root: "/").path == "/run/edgevpn-kairos.sock")
        #expect(UnixSocket.ofAgent(root: "/x/").path == "/x/run/edgevpn-kairos.sock")
    }

    @Test("a client says whether nobody is there, nobody answers, or nonsense is answered")
    func clientProblems() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            await #expect(throws: APIClient.Problem.notRunning(socket: path)) {
                try await client(.init(path: path)).status()
            }
            close(try listen(at: path))
            await #expect(throws: APIClient.Problem.notRunning(socket: path)) {
                try await client(.init(path: path)).status()
            }
            unlink(path)
            let silent = try listen(at: path)
            await #expect(throws: APIClient.Problem.timedOut(socket: path)) {
                try await client(.init(path: path), timeout: .milliseconds(50)).status()
            }
            close(silent)
            unlink(path)
            for (answer, problem) in [
                ("nonsense\r\n\r\n", APIClient.Problem.badAnswer("it is no HTTP")),
                ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", .badAnswer("it ends too early")),
                ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", .badAnswer("HTTP status 500")),
                ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", .badAnswer("it is no status document")),
            ] {
                try await withAnswer(answer, at: path) {
                    await #expect(throws: problem) { try await client(.init(path: path)).status() }
                }
            }
            await #expect(throws: APIClient.Problem.notRunning(socket: path)) {
                try await APIClient.status(at: UnixSocket(path: path))
            }
            await #expect(throws: APIClient.Problem.self) {
                try await client(.init(path: String(repeating: "x", count: 500))).status()
            }
        }
    }

    @Test("an answer that does not end is cut off")
    func endlessAnswer() async throws {
        try await withDirectory { directory in
            let path = directory + "/api.sock"
            let chunk = String(repeating: "x", count: 1 << 20)
            let answer = "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: chunk, count: 17)
            try await withAnswer(answer, at: path) {
                await #expect(throws: APIClient.Problem.badAnswer("it is larger than 16777216 bytes")) {
                    try await client(.init(path: path)).status()
                }
            }
        }
    }

    @Test("requests that are too large, carry a body or are no HTTP are refused, and the server goes on")
    func badRequests() async throws {
        try await withDirectory { directory in
            let head = "GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            try await withServer(at: directory + "/api.sock") { socket in
                for (request, code) in [
                    ("GET /api/v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n", "413"),
                    (
                        "POST /api/v1/status HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nf\r\n",
                        "413"
                    ),
                    ("nonsense\r\n\r\n", "400"),
                    // One that is right, so that the others are refused for what is wrong with them.
                    ("\(head)x: y\r\n\r\n", "200"),
                    ("\(head)x: \(String(repeating: "y", count: 20_000))\r\n\r\n", ""),
                    (head + String(repeating: "a: b\r\n", count: 100) + "\r\n", ""),
                    (
                        head.replacing("status", with: "status?" + String(repeating: "y", count: 100_000))
                            + "\r\n", ""
                    ),
                ] {
                    let answer = try await raw(request, to: socket.path)
                    // How a decoder's limit is told differs; that it is not answered counts.
                    let isRefused = !answer.hasPrefix("HTTP/1.1 200")
                    #expect(code.isEmpty ? isRefused : answer.hasPrefix("HTTP/1.1 \(code)"), "\(answer)")
                    try await expectStatus(client(socket))
                }
            }
        }
    }

    @Test("a connection on which nothing comes is closed in time")
    func idle() async throws {
        try await withDirectory { directory in
            try await withServer(at: directory + "/api.sock", idleTimeout: .milliseconds(100)) { socket in
                for request in ["", "GET /api/v1/st"] {
                    let answer = try await raw(request, to: socket.path)
                    #expect(answer.isEmpty)
                }
            }
        }
    }

    @Test("many connections wait their turn and are all answered")
    func manyConnections() async throws {
        try await withDirectory { directory in
            try await withServer(at: directory + "/api.sock", idleTimeout: .milliseconds(200)) { socket in
                // Silent ones take every place; they are closed when they have been silent for too long.
                let silent = try (0..<APIServer.maximumConnections).map { _ in try connect(to: socket.path) }
                defer { for descriptor in silent { close(descriptor) } }
                try await withThrowingTaskGroup(of: StatusDocument.self) { group in
                    for _ in 0..<20 { group.addTask { try await client(socket).status() } }
                    for try await document in group { #expect(document == Samples.ready) }
                }
            }
        }
    }

    // MARK: plain sockets

    private func address(_ path: String) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return address
    }

    private func listen(at path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = address(path)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        try #require(Glibc.listen(descriptor, 8) == 0)
        return descriptor
    }

    private func connect(to path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = address(path)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        return descriptor
    }

    /// Sends `request` as it is and returns everything until the server closes.
    private func raw(_ request: String, to path: String) async throws -> String {
        let descriptor = try connect(to: path)
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                let bytes = Array(request.utf8)
                _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                var answer: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = recv(descriptor, &buffer, buffer.count, 0)
                    guard count > 0 else {
                        if count < 0 && errno == EAGAIN { answer += Array("(still open after 5 s)".utf8) }
                        break
                    }
                    answer += buffer[..<count]
                }
                continuation.resume(returning: String(decoding: answer, as: UTF8.self))
            }
        }
    }

    /// A server at `path` that gives `answer` to the first who connects, whatever they say.
    private func withAnswer(_ answer: String, at path: String, _ body: () async throws -> Void) async throws {
        let listener = try listen(at: path)
        let done = DispatchSemaphore(value: 0)
        DispatchQueue.global().async {
            let descriptor = accept(listener, nil, nil)
            var buffer = [UInt8](repeating: 0, count: 4096)
            _ = recv(descriptor, &buffer, buffer.count, 0)
            let bytes = Array(answer.utf8)
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                }
                if count <= 0 { break }
                sent += count
            }
            close(descriptor)
            done.signal()
        }
        try await body()
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                done.wait()
                continuation.resume()
            }
        }
        close(listener)
        unlink(path)
    }
}
