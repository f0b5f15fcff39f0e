internal import COpenSSL
package import Timing

/// Certificates that prove a libp2p identity to a TLS peer (contract/wire.md D.3).
package enum TLSCertificate {
    /// The longest certificate that is read: an honest one carries an RSA identity of 8192 bits, its
    /// signature, and perhaps such a key of its own.
    package static let maximumLength = 16384
    /// An honest certificate has one extension or a few.
    private static let maximumExtensions = 64
    /// Weaker signatures than this many bits, SHA-1's for one, prove nothing.
    private static let minimumSecurityBits: Int32 = 112

    /// The identity that a peer's `chain` of certificates in DER proves at the time `now`.
    ///
    /// Unlike go-libp2p, which skips it, this checks that the certificate signed itself, as the
    /// specification asks.
    package static func verify(chain: [[UInt8]], at now: UnixTime) throws(TLSCertificateError) -> PublicKey {
        guard chain.count == 1, let der = chain.first else { throw .count(chain.count) }
        defer { ERR_clear_error() }
        guard let certificate = ParsedCertificate(der: der) else { throw .malformed }
        try certificate.checkTime(now)
        let value = try certificate.checkExtensions(maximum: maximumExtensions)
        try certificate.checkSelfSignature(minimumSecurityBits: minimumSecurityBits)
        guard let keyInfo = certificate.keyInfo else { throw .malformed }
        guard let value else { throw .missingExtension }
        guard let signedKey = SignedKey(der: value) else { throw .malformedExtension }
        return try signedKey.verify(keyInfo: keyInfo)
    }
}

/// A certificate inside libcrypto, freed with the object.
private final class ParsedCertificate {
    private let certificate: OpaquePointer

    /// Reads the certificate that fills `der` exactly.
    init?(der: [UInt8]) {
        guard der.count <= TLSCertificate.maximumLength else { return nil }
        let certificate: OpaquePointer? = der.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return nil }
            var position: UnsafePointer<UInt8>? = start
            guard let certificate = d2i_X509(nil, &position, buffer.count) else { return nil }
            guard position == start + buffer.count else {
                X509_free(certificate)
                return nil
            }
            return certificate
        }
        guard let certificate else { return nil }
        self.certificate = certificate
    }

    deinit {
        X509_free(certificate)
    }

    func checkTime(_ now: UnixTime) throws(TLSCertificateError) {
        var seconds = time_t(now.seconds)
        // Negative when the first is earlier or the same, 0 when it cannot be read.
        let begin = X509_cmp_time(X509_get0_notBefore(certificate), &seconds)
        let end = X509_cmp_time(X509_get0_notAfter(certificate), &seconds)
        guard begin != 0, end != 0 else { throw .malformed }
        guard begin < 0 else { throw .notYetValid }
        guard end > 0 else { throw .expired }
    }

    /// The value of libp2p's extension; nil when there is none.
    func checkExtensions(maximum: Int) throws(TLSCertificateError) -> [UInt8]? {
        let count = Int(X509_get_ext_count(certificate))
        guard count <= maximum else { throw .malformed }
        var seen: Set<[UInt8]> = []
        var value: [UInt8]?
        for index in 0..<max(count, 0) {
            guard let each = X509_get_ext(certificate, Int32(index)),
                let object = X509_EXTENSION_get_object(each),
                let identifier = OBJ_get0_data(object)
            else { throw .malformed }
            let name = Array(UnsafeBufferPointer(start: identifier, count: OBJ_length(object)))
            guard seen.insert(name).inserted else { throw .duplicateExtension }
            if name == SignedKey.objectIdentifier {
                guard let data = X509_EXTENSION_get_data(each) else { throw .malformedExtension }
                value = Array(
                    UnsafeBufferPointer(
                        start: ASN1_STRING_get0_data(data), count: max(0, Int(ASN1_STRING_length(data)))))
            } else if X509_EXTENSION_get_critical(each) != 0, X509_supported_extension(each) == 0 {
                throw .unknownCriticalExtension
            }
        }
        return value
    }

    func checkSelfSignature(minimumSecurityBits: Int32) throws(TLSCertificateError) {
        var bits: Int32 = 0
        guard let key = X509_get0_pubkey(certificate),
            X509_get_signature_info(certificate, nil, nil, &bits, nil) == 1, bits >= minimumSecurityBits
        else { throw .notSelfSigned }
        // The limits of identities: weak keys prove nothing, huge ones cost too much to verify.
        if EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA, !(2048...8192).contains(EVP_PKEY_get_bits(key)) {
            throw .notSelfSigned
        }
        guard X509_verify(certificate, key) == 1 else { throw .notSelfSigned }
    }

    /// The SubjectPublicKeyInfo of the certificate's key.
    var keyInfo: [UInt8]? {
        LibcryptoDER.encode { i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), $0) }
    }
}

/// Reads what libcrypto writes in DER.
enum LibcryptoDER {
    /// The bytes that `write`, an `i2d` function, allocates; nil when it fails.
    static func encode(
        _ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32
    ) -> [UInt8]? {
        var start: UnsafeMutablePointer<UInt8>?
        let length = write(&start)
        guard length > 0, let start else {
            ERR_clear_error()
            return nil
        }
        defer { CRYPTO_free(start, #file, #line) }
        return Array(UnsafeBufferPointer(start: start, count: Int(length)))
    }
}
