internal import Testing
internal import Timing

@testable import K3s

@Suite("Cluster token")
struct ClusterTokenTests {
    @Test("a generated token is 32 random bytes as hex, fit for a first server")
    func generated() throws {
        var generator = SeededGenerator(seed: 7)
        let token = ClusterToken.generate(using: &generator)
        #expect(token.secret.utf8.count == 64)
        #expect(token.secret.allSatisfy { "0123456789abcdef".contains($0) })
        #expect(token.shape == .password)
        try token.checkFounding()
        #expect(ClusterToken.generate() != ClusterToken.generate())
    }

    @Test("the first server refuses the full form and bootstrap tokens")
    func founding() throws {
        let hash = String(repeating: "ab", count: 32)
        let cases: [(String, TokenShape)] = [
            ("K10\(hash)::server:secret", .full), ("K10", .full), ("K10abc", .full),
            ("abcdef.0123456789abcdef", .bootstrap), ("K10\(hash)::abcdef.0123456789abcdef", .bootstrap),
        ]
        for (text, shape) in cases {
            let token = try ClusterToken(text)
            #expect(token.shape == shape, "\(text)")
            #expect(throws: K3sConfigurationError.tokenUnfitForFounding(shape)) { try token.checkFounding() }
        }
        for text in [
            "k10abc", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "a.b", "abcdef.0123456789abcdef.x",
        ] {
            #expect(try ClusterToken(text).shape == .password, "\(text)")
        }
    }

    @Test("a bootstrap token lets agents join and no servers")
    func joining() throws {
        let token = "abcdef.0123456789abcdef"
        #expect(throws: K3sConfigurationError.tokenUnfitForServer) {
            try Sample.state(.server(Sample.join(token: token)))
        }
        _ = try Sample.state(.agent(Sample.join(token: token)))
    }

    @Test("an empty or broken token is none")
    func broken() throws {
        for text in ["", "\n", "\r\n"] {
            #expect(throws: K3sConfigurationError.tokenMissing(command: .server)) { try ClusterToken(text) }
        }
        for text in ["a b", "a\nb", "a\u{0}", "ä", String(repeating: "x", count: 5000)] {
            #expect(throws: K3sConfigurationError.tokenMalformed) { try ClusterToken(text) }
        }
        #expect(try ClusterToken("secret\n").secret == "secret")
    }

    @Test("no description of it shows it")
    func masked() throws {
        let state = try Sample.state(.agent(Sample.join(token: "hunter2hunter2")))
        let token = try ClusterToken("hunter2hunter2")
        var dumped = ""
        dump(token, to: &dumped)
        #expect(!"\(token)".contains("hunter2") && !String(reflecting: token).contains("hunter2"))
        #expect(!dumped.contains("hunter2"))
        #expect(!"\(state.role)".contains("hunter2"))
    }
}
