internal import COpenSSL
package import Timing

/// What all TLS connections of one identity share: the credential and the settings of
/// contract/wire.md D.3.
///
/// Sendable unchecked: the SSL_CTX is set up in the initialiser and not changed afterwards; making
/// connections from it on several threads is what libssl allows.
package final class TLSContext: @unchecked Sendable {
    let context: OpaquePointer
    /// Tells whether a peer's certificate is in its time.
    let clock: any TimeSource

    /// A context that proves itself with `credential`, or with nothing, as no honest peer does.
    /// Throws `TLSError.unavailable`.
    package init(
        credential: TLSCredential?, clock: any TimeSource,
        cipherSuites: String = TLSCipherPreference.cipherSuites
    ) throws(TLSError) {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let context = SSL_CTX_new(TLS_method()) else { throw .unavailable("TLS") }
        self.context = context
        self.clock = clock
        let version = Int(TLS1_3_VERSION)
        guard SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, version, nil) == 1,
            SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, version, nil) == 1
        else { throw .unavailable("TLS 1.3") }
        guard SSL_CTX_set_ciphersuites(context, cipherSuites) == 1 else {
            throw .unavailable("the cipher suites of TLS 1.3")
        }
        SSL_CTX_set_options(context, KAIROS_SSL_OPTIONS)
        guard SSL_CTX_set_num_tickets(context, 0) == 1 else { throw .unavailable("TLS without tickets") }
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        // The list of certificates has lengths around its one certificate.
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_CERT_LIST, TLSCertificate.maximumLength + 256, nil)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        SSL_CTX_set_cert_verify_callback(context, TLSSession.verifyCertificate, nil)
        SSL_CTX_set_alpn_select_cb(context, TLSSession.selectProtocol, nil)
        if let credential {
            guard SSL_CTX_use_certificate(context, credential.certificate) == 1,
                SSL_CTX_use_PrivateKey(context, credential.key) == 1
            else { throw .unavailable("the certificate") }
        }
    }

    deinit {
        SSL_CTX_free(context)
    }
}

/// Which cipher is best on this machine.
package enum TLSCipherPreference {
    /// The suites of TLS 1.3, best first: AES-GCM where the processor computes it, else
    /// ChaCha20-Poly1305. AES-128 before AES-256, as go-libp2p has it: it is the faster one, and
    /// nothing else here is stronger than it.
    package static let cipherSuites: String = {
        let settings = OPENSSL_info(OPENSSL_INFO_CPU_SETTINGS).map { String(cString: $0) } ?? ""
        return cipherSuites(hasAES: hasAES(settings))
    }()

    package static func cipherSuites(hasAES: Bool) -> String {
        let aes = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
        let chaCha = "TLS_CHACHA20_POLY1305_SHA256"
        return hasAES ? "\(aes):\(chaCha)" : "\(chaCha):\(aes)"
    }

    /// Whether the processor has instructions for AES and for GCM's multiplication, in libcrypto's
    /// words: `OPENSSL_ia32cap=0x…:0x…` or `OPENSSL_armcap=0x…`.
    package static func hasAES(_ settings: String) -> Bool {
        let parts = settings.split(separator: "=")
        guard parts.count >= 2 else { return false }
        let digits = parts[1].drop { $0 == "0" }.dropFirst().prefix { $0.isHexDigit }
        guard let bits = UInt64(digits, radix: 16) else { return false }
        let wanted: UInt64 =
            switch parts[0] {
            case "OPENSSL_ia32cap": 1 << 57 | 1 << 33
            case "OPENSSL_armcap": 1 << 2 | 1 << 5
            default: 0
            }
        return wanted != 0 && bits & wanted == wanted
    }
}
