internal import COpenSSL
package import NIOCore
internal import Timing

/// One TLS connection: libssl's state machine, fed with bytes and asked for bytes
/// (contract/wire.md D.3). Not for two threads at once.
///
/// Bytes go `handshake` until it gives a `SecureSession`, then `open` and `seal`. After an error the
/// connection is worth nothing, but `takeOutput` may still hold the alert that tells the peer.
package final class TLSSession {
    /// The most plaintext of one record.
    package static let recordLength = 16384
    /// What a record takes beside its plaintext: header, type and tag.
    package static let recordOverhead = 22
    /// The most bytes that a peer may send before it is known.
    package static let maximumHandshake = 65536
    /// After this many records a new key seals, long before AES-GCM's bound of 2^24.5 (RFC 8446
    /// section 5.5).
    package static let recordsPerKey = 1 << 22

    private static let bindingLabel = "EXPORTER-Channel-Binding"

    private let context: TLSContext
    private let wire = TLSWire()
    private let connection: OpaquePointer
    private let expectedPeer: PeerID?
    private let muxers: [ProtocolID]
    private let recordsPerKey: Int

    private var handshakeBytes = 0
    private var recordsSealed = 0
    private var hasFailed = false
    private var hasSaidGoodbye = false
    private var remoteKey: PublicKey?
    /// What the peer's certificate was refused for, which libssl cannot say.
    private var refusal: TLSError?

    /// A connection that has not begun. Throws `TLSError.unavailable`.
    ///
    /// - Parameters:
    ///   - isClient: whether this side dialled.
    ///   - expectedPeer: whom this side means to reach, if it dialled.
    ///   - muxers: the muxers that this side speaks, best first.
    ///   - recordsPerKey: after how many records a new key seals.
    package init(
        _ context: TLSContext, isClient: Bool, expectedPeer: PeerID?, muxers: [ProtocolID],
        recordsPerKey: Int = TLSSession.recordsPerKey
    ) throws(TLSError) {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let connection = SSL_new(context.context) else { throw .unavailable("a connection") }
        guard let input = wire.makeBIO() else {
            SSL_free(connection)
            throw .unavailable("a connection")
        }
        self.context = context
        self.connection = connection
        self.expectedPeer = expectedPeer
        self.muxers = muxers
        self.recordsPerKey = recordsPerKey
        // One BIO for both directions; libssl owns it from here.
        SSL_set_bio(connection, input, input)
        SSL_set_ex_data(connection, 0, Unmanaged.passUnretained(self).toOpaque())
        if isClient { SSL_set_connect_state(connection) } else { SSL_set_accept_state(connection) }
        let names = TLSProtocolNames.encode(muxers: muxers)
        // This one function returns 0 when it is done.
        guard SSL_set_alpn_protos(connection, names, UInt32(clamping: names.count)) == 0 else {
            throw .unavailable("the names of the muxers")
        }
    }

    deinit {
        // libssl calls back only during the calls of this object, of which this is the last.
        SSL_free(connection)
    }

    /// Goes on with the handshake, taking from `bytes` what belongs to it; what is left when it gives
    /// a session is for `open`.
    package func handshake(_ bytes: inout ByteBuffer) throws(TLSError) -> SecureSession? {
        let before = bytes.readableBytes
        let failure = wire.withInput(&bytes) { call { SSL_do_handshake(connection) } }
        handshakeBytes += before - bytes.readableBytes
        switch failure {
        case nil: return try secureSession()
        case .wantsRead:
            guard handshakeBytes <= Self.maximumHandshake else { throw fail(.tooMuchInput) }
            return nil
        case .closed: throw fail(.endOfStream)
        case .failed(let error): throw fail(refusal ?? error)
        }
    }

    /// Opens every whole record in `bytes`, all of which are taken, and appends the plaintext to
    /// `output`. True when the peer has said goodbye: nothing follows.
    package func open(_ bytes: inout ByteBuffer, into output: inout ByteBuffer) throws(TLSError) -> Bool {
        let outcome = wire.withInput(&bytes) { () -> Outcome? in
            while true {
                var failure: Outcome?
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.recordLength) { target in
                    var count = 0
                    failure = call { SSL_read_ex(connection, target.baseAddress, target.count, &count) }
                    return count
                }
                if let failure { return failure }
            }
        }
        switch outcome {
        case .failed(let error)?: throw fail(error)
        case .closed?: return true
        case .wantsRead?, nil: return false
        }
    }

    /// Seals `plaintext` into as few records as can be; `takeOutput` gives them.
    package func seal(_ plaintext: UnsafeRawBufferPointer) throws(TLSError) {
        let records = (plaintext.count + Self.recordLength - 1) / Self.recordLength
        wire.reserveOutput(plaintext.count + records * Self.recordOverhead)
        var rest = plaintext[...]
        while !rest.isEmpty {
            let chunk = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.recordLength))
            if recordsSealed >= recordsPerKey { try renewKey() }
            var written = 0
            let outcome = call { SSL_write_ex(connection, chunk.baseAddress, chunk.count, &written) }
            // The wire takes everything, so a write is whole or fails.
            guard outcome == nil, written == chunk.count else {
                if case .failed(let error)? = outcome { throw fail(error) }
                throw fail(.protocolViolation("a record could not be sealed"))
            }
            recordsSealed += 1
            rest = rest.dropFirst(chunk.count)
        }
    }

    /// Says goodbye to the peer: nothing is sealed afterwards.
    package func closeOutput() {
        guard !hasFailed, !hasSaidGoodbye, SSL_is_init_finished(connection) == 1 else { return }
        hasSaidGoodbye = true
        // 0 says that the peer's goodbye has not come, which nobody waits for.
        _ = call { SSL_shutdown(connection) }
    }

    /// How many bytes wait for the wire.
    package var outputCount: Int { wire.outputCount }

    /// Takes what is to go to the wire; nil when that is nothing. The memory is used again when the
    /// taker has let go of it by the time of the next output.
    package func takeOutput() -> ByteBuffer? { wire.takeOutput() }

    /// The cipher suite that both ends agreed on, once they have.
    package var cipherSuite: String {
        SSL_CIPHER_get_name(SSL_get_current_cipher(connection)).map { String(cString: $0) } ?? ""
    }

    private func renewKey() throws(TLSError) {
        recordsSealed = 0
        guard call({ SSL_key_update(connection, SSL_KEY_UPDATE_NOT_REQUESTED) }) == nil else {
            throw fail(.unavailable("a new key"))
        }
    }

    // MARK: what calls end with

    private enum Outcome {
        case wantsRead
        case closed
        case failed(TLSError)
    }

    /// Makes one call of libssl, with the queue of errors emptied before and after; nil when it did
    /// what it was asked.
    private func call(_ body: () -> Int32) -> Outcome? {
        guard !hasFailed else { return .failed(.protocolViolation("the connection has failed")) }
        ERR_clear_error()
        let result = body()
        guard result <= 0 else { return nil }
        switch SSL_get_error(connection, result) {
        case SSL_ERROR_WANT_READ: return .wantsRead
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            defer { ERR_clear_error() }
            return .failed(Self.error(ERR_peek_error()))
        }
    }

    /// What an entry of the queue of errors says.
    private static func error(_ code: UInt) -> TLSError {
        let reason = Int(ERR_GET_REASON(code))
        // Alerts of the peer are reasons from 1000 on.
        if ERR_GET_LIB(code) == ERR_LIB_SSL, let alert = UInt8(exactly: reason - Int(SSL_AD_REASON_OFFSET)) {
            return .alert(alert)
        }
        let text = ERR_reason_error_string(code).map { String(cString: $0) }
        return .protocolViolation(text ?? "error \(code) of libssl")
    }

    private func fail(_ error: TLSError) -> TLSError {
        hasFailed = true
        return error
    }

    // MARK: the end of the handshake

    private func secureSession() throws(TLSError) -> SecureSession {
        guard let remoteKey else { throw fail(.invalidCertificate(.count(0))) }
        var binding = [UInt8](repeating: 0, count: 32)
        let done = SSL_export_keying_material(
            connection, &binding, binding.count, Self.bindingLabel, Self.bindingLabel.utf8.count, nil, 0, 0)
        guard done == 1 else {
            ERR_clear_error()
            throw fail(.unavailable("the exporter of RFC 8446"))
        }
        var start: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(connection, &start, &length)
        let chosen = UnsafeBufferPointer(start: start, count: start == nil ? 0 : Int(length))
        return SecureSession(
            remotePeer: PeerID(remoteKey), remoteKey: remoteKey, channelBinding: binding,
            muxer: TLSProtocolNames.muxer(chosen: chosen))
    }

    // MARK: libssl's questions

    /// The object that `connection` belongs to, which is in a call of it now.
    private static func of(_ connection: OpaquePointer?) -> TLSSession? {
        guard let data = SSL_get_ex_data(connection, 0) else { return nil }
        return Unmanaged<TLSSession>.fromOpaque(data).takeUnretainedValue()
    }

    /// Takes the place of the verification by authorities.
    static let verifyCertificate: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = {
        store, _ in
        guard let connection = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
            let session = TLSSession.of(OpaquePointer(connection))
        else { return 0 }
        guard session.accepts(X509_STORE_CTX_get0_untrusted(store)) else {
            // Becomes the alert bad_certificate, as go-libp2p sends it.
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
            return 0
        }
        X509_STORE_CTX_set_error(store, X509_V_OK)
        return 1
    }

    private func accepts(_ list: OpaquePointer?) -> Bool {
        let count = max(0, OPENSSL_sk_num(list))
        do throws(TLSCertificateError) {
            guard count == 1, let certificate = OPENSSL_sk_value(list, 0) else { throw .count(Int(count)) }
            guard let der = LibcryptoDER.encode({ i2d_X509(OpaquePointer(certificate), $0) }) else {
                throw .malformed
            }
            let key = try TLSCertificate.verify(chain: [der], at: context.clock.wallClock())
            let found = PeerID(key)
            if let expectedPeer, found != expectedPeer {
                refusal = .unexpectedPeer(expected: expectedPeer, found: found)
                return false
            }
            remoteKey = key
            return true
        } catch {
            refusal = .invalidCertificate(error)
            return false
        }
    }

    /// Chooses what the client's list of protocol names leaves to the server.
    static let selectProtocol:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
            UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
        ) -> Int32 = { connection, output, outputLength, list, length, _ in
            guard let session = TLSSession.of(connection), let list, let output, let outputLength else {
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }
            let names = UnsafeBufferPointer(start: list, count: Int(length))
            guard let chosen = TLSProtocolNames.select(from: names, muxers: session.muxers),
                let count = UInt8(exactly: chosen.count)
            else { return SSL_TLSEXT_ERR_ALERT_FATAL }
            output.pointee = list + chosen.lowerBound
            outputLength.pointee = count
            return SSL_TLSEXT_ERR_OK
        }
}
