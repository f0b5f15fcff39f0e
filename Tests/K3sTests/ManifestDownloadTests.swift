internal import Foundation
internal import Glibc
internal import TestSupport
internal import Testing

@testable import K3s

@Suite("The manifest of kubevip.manifest_url")
struct ManifestDownloadTests {
    private static let manifest = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: kube-vip\n"

    private func download(_ outcome: BoundedCommand.Outcome) throws -> ManifestDownload {
        var download = try #require(ManifestDownload(url: "https://example.org/rbac.yaml"))
        download.run = { program, arguments, _ in
            // The address is the value of an option, so it is never taken for another one.
            program == "/usr/bin/curl" && arguments.suffix(2) == ["--url", "https://example.org/rbac.yaml"]
                ? outcome : .ended(status: 99, output: "asked wrongly")
        }
        return download
    }

    @Test("a manifest of several objects is taken as it is")
    func success() async throws {
        let text = Self.manifest + "---\n" + Self.manifest
        #expect(try await download(.ended(status: 0, output: text)).fetch() == text)
    }

    @Test("what goes wrong is told apart")
    func failures() async throws {
        let long = Self.manifest + "#" + String(repeating: "x", count: ManifestDownload.longest)
        for (outcome, failure) in [
            (.notStarted(ENOENT), .noCurl), (.timedOut, .timedOut),
            (.ended(status: 28, output: ""), .timedOut),
            (.ended(status: 22, output: "a\ncurl: (22) error: 404\n"), .refused("curl: (22) error: 404")),
            (.ended(status: 63, output: ""), .tooLong), (.ended(status: 0, output: long), .tooLong),
            (.ended(status: 0, output: ""), .noManifest("it is empty")),
            (.ended(status: 0, output: "<html>"), .noManifest("a document has no apiVersion or no kind")),
            (.ended(status: 0, output: "kind: X\n"), .noManifest("a document has no apiVersion or no kind")),
            (.ended(status: 0, output: "a: [\n"), .noManifest("it is not YAML")),
        ] as [(BoundedCommand.Outcome, ManifestDownload.Failure)] {
            let download = try download(outcome)
            await #expect(throws: failure) { try await download.fetch() }
        }
    }

    @Test(
        "other addresses than of the web are none",
        arguments: ["", "gopher://x/1", "-o/etc/x", "https://a b", "ftp://x"])
    func addresses(url: String) {
        #expect(ManifestDownload(url: url) == nil)
    }

    @Test("curl itself fetches from a server, follows it, and is refused", .timeLimit(.minutes(1)))
    func overTheWire() async throws {
        let server = try OneAnswerServer([
            "HTTP/1.1 302 Found\r\nLocation: /rbac.yaml\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \(Self.manifest.utf8.count)\r\nConnection: close\r\n\r\n"
                + Self.manifest,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ])
        let download = try #require(ManifestDownload(url: "http://127.0.0.1:\(server.port)/first"))
        #expect(try await download.fetch() == Self.manifest)
        await #expect(throws: ManifestDownload.Failure.self) { try await download.fetch() }
    }
}

/// Gives one answer to each connection, in turn, and then listens no more.
private final class OneAnswerServer: Sendable {
    let port: UInt16

    init(_ answers: [String]) throws {
        let bound = try #require(LoopbackPort(backlog: 8))
        let listener = bound.descriptor
        port = bound.number
        Thread {
            for answer in answers {
                let peer = accept(listener, nil, nil)
                var request = [UInt8](repeating: 0, count: 4096)
                _ = recv(peer, &request, request.count, 0)
                let bytes = Array(answer.utf8)
                _ = send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                close(peer)
            }
            close(listener)
        }.start()
    }
}
