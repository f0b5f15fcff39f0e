import LibP2P
import NIOCore
import Testing
import Timing

/// A wall clock that stands still.
struct StillClock: TimeSource {
    let time: UnixTime

    func now() -> Instant { Instant(nanoseconds: 0) }
    func wallClock() -> UnixTime { time }
}

/// Two ends of a TLS connection and the wire between them.
final class TLSPair {
    let client: TLSSession
    let server: TLSSession
    private(set) var clientSession: SecureSession?
    private(set) var serverSession: SecureSession?

    init(
        client clientMuxers: [ProtocolID] = ["/yamux/1.0.0"],
        server serverMuxers: [ProtocolID] = ["/yamux/1.0.0"],
        clientCertificate: VectorCertificate? = nil, serverCertificate: VectorCertificate? = nil,
        clientProves: Bool = true, expecting peer: PeerID? = nil,
        clientCiphers: String = TLSCipherPreference.cipherSuites,
        serverCiphers: String = TLSCipherPreference.cipherSuites,
        recordsPerKey: Int = TLSSession.recordsPerKey
    ) throws {
        let time = (clientCertificate ?? serverCertificate)?.time ?? UnixTime(seconds: 1_795_376_503)
        let context = { (certificate: VectorCertificate?, proves: Bool, ciphers: String) in
            var credential: TLSCredential?
            if let certificate {
                credential = try TLSCredential(
                    certificate: certificate.der, privateKey: certificate.privateKey)
            } else if proves {
                credential = try TLSCredential(identity: .generate())
            }
            return try TLSContext(
                credential: credential, clock: StillClock(time: time), cipherSuites: ciphers)
        }
        client = try TLSSession(
            try context(clientCertificate, clientProves, clientCiphers), isClient: true, expectedPeer: peer,
            muxers: clientMuxers, recordsPerKey: recordsPerKey)
        server = try TLSSession(
            try context(serverCertificate, true, serverCiphers), isClient: false, expectedPeer: nil,
            muxers: serverMuxers, recordsPerKey: recordsPerKey)
    }

    /// Carries the handshake's bytes both ways until both ends are done.
    func shakeHands() throws {
        var toServer = ByteBuffer()
        var toClient = ByteBuffer()
        for _ in 0..<10 where clientSession == nil || serverSession == nil {
            if clientSession == nil { clientSession = try client.handshake(&toClient) }
            if var output = client.takeOutput() { toServer.writeBuffer(&output) }
            if serverSession == nil { serverSession = try server.handshake(&toServer) }
            guard var output = server.takeOutput() else { continue }
            toClient.writeBuffer(&output)
        }
    }
}
