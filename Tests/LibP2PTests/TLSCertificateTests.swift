import LibP2P
import TestSupport
import Testing
import Timing

private struct Case: Decodable {
    struct Certificate: Decodable {
        struct Extension: Decodable {
            let oid: String
            let value: String
        }

        let extensions: [Extension]?
        let extensionPublicKey: String?
        let extensionSignature: String?
        let publicKeySpki: String?
    }

    let kind: String
    let name: String
    let chain: [String]?
    let checkedAtUnix: Int64?
    let peerId: String?
    let error: String?
    let lenient: Bool?
    let privateKeyPkcs8: String?
    let certificate: Certificate?
    let clientAlpn: [String]?
    let serverAlpn: [String]?
    let muxer: String?
    let expectedPeerId: String?
    let certificatePeerId: String?
}

private struct File: Decodable {
    let cases: [Case]
}

/// A certificate of the vectors with its key.
struct VectorCertificate: Sendable {
    let name: String
    let der: [UInt8]
    let privateKey: [UInt8]
    let peer: String
    let time: UnixTime

    static func all() throws -> [VectorCertificate] {
        let file = try Vectors.load("tls.json", as: File.self, snakeCase: true)
        return try file.cases.compactMap { each in
            guard let key = each.privateKeyPkcs8, let peer = each.peerId, let time = each.checkedAtUnix else {
                return nil
            }
            return VectorCertificate(
                name: each.name, der: try #require(Hex.decode(each.chain?.first ?? "")),
                privateKey: try #require(Hex.decode(key)), peer: peer, time: UnixTime(seconds: time))
        }
    }
}

@Suite("TLS certificates")
struct TLSCertificateTests {
    private static let cases = Result { try Vectors.load("tls.json", as: File.self, snakeCase: true).cases }

    @Test("every chain of the vectors is judged as go-libp2p does, but for self-signatures, which count")
    func chains() throws {
        var (valid, invalid, lenient) = (0, 0, 0)
        for each in try Self.cases.get() where each.chain != nil {
            let chain = try #require(each.chain).map { try #require(Hex.decode($0)) }
            let time = UnixTime(seconds: try #require(each.checkedAtUnix))
            let outcome = Result { () throws(TLSCertificateError) in
                try TLSCertificate.verify(chain: chain, at: time)
            }
            if each.lenient == true {
                lenient += 1
                #expect(outcome.failure == .notSelfSigned, "\(each.name)")
            } else if each.kind == "valid" {
                valid += 1
                #expect((try? outcome.get()).map { PeerID($0).description } == each.peerId, "\(each.name)")
            } else {
                invalid += 1
                let error = try #require(outcome.failure, "\(each.name) is accepted")
                #expect(Self.isMeant(error, by: try #require(each.error)), "\(each.name): \(error)")
            }
        }
        #expect(valid == 13 && invalid == 18 && lenient == 2, "\(valid) \(invalid) \(lenient)")
    }

    /// Whether `error` is what go-libp2p says in its words.
    private static func isMeant(_ error: TLSCertificateError, by words: String) -> Bool {
        switch error {
        case .count: words.contains("expected one certificates")
        case .malformed: words.contains("malformed certificate") || words.contains("trailing data")
        case .notYetValid: words.contains("is before")
        case .expired: words.contains("is after")
        case .notSelfSigned: false
        case .unknownCriticalExtension: words.contains("unhandled critical extension")
        case .duplicateExtension: words.contains("duplicate extension")
        case .missingExtension: words.contains("to contain the key extension")
        case .malformedExtension: words.contains("unmarshalling signed certificate")
        case .invalidIdentityKey: words.contains("unmarshalling public key")
        case .invalidSignature: words == "signature invalid"
        }
    }

    @Test("the extensions of the vectors are read and written alike")
    func extensions() throws {
        var count = 0
        for each in try Self.cases.get() {
            for found in each.certificate?.extensions ?? [] where found.oid == "1.3.6.1.4.1.53594.1.1" {
                let der = try #require(Hex.decode(found.value))
                let signedKey = try #require(SignedKey(der: der))
                #expect(signedKey.der == der)
                #expect(Hex.encode(signedKey.publicKey) == each.certificate?.extensionPublicKey)
                #expect(Hex.encode(signedKey.signature) == each.certificate?.extensionSignature)
                let keyInfo = try #require(Hex.decode(each.certificate?.publicKeySpki ?? ""))
                #expect(PeerID(try signedKey.verify(keyInfo: keyInfo)).description == each.peerId)
                for length in 0..<der.count { #expect(SignedKey(der: Array(der.prefix(length))) == nil) }
                #expect(SignedKey(der: der + [0]) == nil)
                count += 1
            }
        }
        #expect(count == 13)
    }

    @Test("the extension of contract D.3 is made byte for byte")
    func knownExtension() throws {
        let keyInfo = try #require(
            Hex.decode(
                "3059301306072a8648ce3d020106082a8648ce3d0301070342000457e977f6db7e33c3fe7acf2842ed987009caf56d45"
                    + "8682fca447b7d3d762ab34c5ab3770ba573bdff5414065640ffb5b346dfa84dec4db4d68e5f59cc471c2ec"
            ))
        let identity = try Identity(seed: SecretBytes(copying: (0..<32).map { UInt8($0) }))
        #expect(
            Hex.encode(SignedKey(identity: identity, keyInfo: keyInfo).der)
                == "306804240801122003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b804407ac71602e37"
                + "0cbc759458070c60cb51a20e643b7e31cf80a43dea46bdb582899a2bd0124e43d58110f1048342754a3c394ce3378d1"
                + "d4be462365b525082e7200")
    }

    @Test("our own certificate proves the identity at any time, and says go-libp2p's things")
    func own() throws {
        let identity = Identity.generate()
        let der = try TLSCredential(identity: identity).der
        for seconds in [1, 1_000_000_000, 1_795_376_503, 9_000_000_000] as [Int64] {
            let key = try TLSCertificate.verify(chain: [der], at: UnixTime(seconds: seconds))
            #expect(key == identity.publicKey)
        }
        var damaged = der
        for index in der.indices {
            damaged[index] ^= 0x04
            #expect(
                (try? TLSCertificate.verify(chain: [damaged], at: UnixTime(seconds: 1_795_376_503))) == nil,
                "byte \(index)")
            damaged[index] ^= 0x04
        }
        #expect(try TLSCredential(identity: identity).der != der)
    }

    @Test("the muxer is chosen through ALPN as go-libp2p does, and the peer is the one expected")
    func handshakes() throws {
        var count = 0
        for each in try Self.cases.get() where each.kind == "handshake" {
            count += 1
            let muxers = { (names: [String]?) in
                (names ?? []).filter { $0 != "libp2p" }.map { ProtocolID(rawValue: $0) }
            }
            let pair = try TLSPair(client: muxers(each.clientAlpn), server: muxers(each.serverAlpn))
            try pair.shakeHands()
            let expected = each.muxer.flatMap { $0.isEmpty ? nil : ProtocolID(rawValue: $0) }
            #expect(pair.clientSession?.muxer == expected, "\(each.name)")
            #expect(pair.serverSession?.muxer == expected, "\(each.name)")
            let list = TLSProtocolNames.encode(muxers: muxers(each.clientAlpn))
            let chosen = try #require(
                TLSProtocolNames.select(from: list, muxers: muxers(each.serverAlpn)))
            #expect(TLSProtocolNames.muxer(chosen: list[chosen]) == expected)
        }
        #expect(count == 6)
        for each in try Self.cases.get() where each.kind == "mismatch" {
            let certificates = try VectorCertificate.all()
            let found = try #require(certificates.first { $0.peer == each.certificatePeerId })
            let expected = try PeerID(#require(each.expectedPeerId))
            let pair = try TLSPair(serverCertificate: found, expecting: expected)
            #expect(throws: TLSError.unexpectedPeer(expected: expected, found: try PeerID(found.peer))) {
                try pair.shakeHands()
            }
            #expect(pair.serverSession == nil)
        }
    }

    @Test("lists of names that share nothing or are malformed choose nothing")
    func noNames() {
        #expect(TLSProtocolNames.select(from: [2, 0x68, 0x32], muxers: ["/yamux/1.0.0"]) == nil)
        #expect(TLSProtocolNames.select(from: [], muxers: ["/yamux/1.0.0"]) == nil)
        #expect(TLSProtocolNames.select(from: [0], muxers: []) == nil)
        #expect(TLSProtocolNames.select(from: [9, 0x6c], muxers: []) == nil)
        #expect(TLSProtocolNames.muxer(chosen: []) == nil)
    }

    @Test("every certificate key of the vectors shakes hands, on either side, whatever the identity")
    func keyKinds() throws {
        for certificate in try VectorCertificate.all() {
            let asServer = try TLSPair(serverCertificate: certificate)
            try asServer.shakeHands()
            #expect(asServer.clientSession?.remotePeer.description == certificate.peer, "\(certificate.name)")
            let asClient = try TLSPair(clientCertificate: certificate)
            try asClient.shakeHands()
            #expect(asClient.serverSession?.remotePeer.description == certificate.peer, "\(certificate.name)")
        }
    }

    @Test("libcrypto's words tell whether the processor has AES")
    func processor() {
        #expect(TLSCipherPreference.hasAES("OPENSSL_ia32cap=0xfffa3203078bffff:0x405fc6f1bf07ab"))
        #expect(TLSCipherPreference.hasAES("OPENSSL_ia32cap=0x7ffaf3bfffebffff:0x18c05fdef3bfa7eb env:~0x1"))
        #expect(!TLSCipherPreference.hasAES("OPENSSL_ia32cap=0x7dfaf3bdffebffff:0x0"))
        #expect(!TLSCipherPreference.hasAES("OPENSSL_ia32cap=0x7ffaf3bdffebffff:0x0"))
        #expect(TLSCipherPreference.hasAES("OPENSSL_armcap=0xbd"))
        #expect(!TLSCipherPreference.hasAES("OPENSSL_armcap=0x81"))
        #expect(!TLSCipherPreference.hasAES(""))
        #expect(!TLSCipherPreference.hasAES("OPENSSL_ia32cap=0x"))
        let (fast, slow) = (
            TLSCipherPreference.cipherSuites(hasAES: true), TLSCipherPreference.cipherSuites(hasAES: false)
        )
        // With AES at both ends AES; ChaCha20 as soon as either end has none.
        for (client, server, expected) in [
            (fast, fast, "TLS_AES_128_GCM_SHA256"), (slow, fast, "TLS_CHACHA20_POLY1305_SHA256"),
            (fast, slow, "TLS_CHACHA20_POLY1305_SHA256"), (slow, slow, "TLS_CHACHA20_POLY1305_SHA256"),
        ] {
            #expect(throws: Never.self) {
                let pair = try TLSPair(clientCiphers: client, serverCiphers: server)
                try pair.shakeHands()
                #expect(pair.client.cipherSuite == expected)
            }
        }
    }
}

extension Result {
    fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
