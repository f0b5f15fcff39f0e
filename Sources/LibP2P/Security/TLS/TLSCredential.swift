internal import COpenSSL

/// A certificate and its private key, made for one identity. Freed with the object; libcrypto
/// overwrites the key then.
///
/// Sendable unchecked: both pointers are written in the initialisers and only read afterwards, and
/// libcrypto counts their references atomically.
package final class TLSCredential: @unchecked Sendable {
    let certificate: OpaquePointer
    let key: OpaquePointer

    /// Makes a P-256 key and a certificate in which `identity` vouches for it.
    ///
    /// The certificate is valid at any time, so that a peer whose clock has not been set is not cut
    /// off by it. Throws `TLSError.unavailable`.
    package init(identity: Identity) throws(TLSError) {
        defer { ERR_clear_error() }
        guard let key = Self.generateKey() else { throw .unavailable("keys of P-256") }
        guard let certificate = Self.makeCertificate(for: key, identity) else {
            EVP_PKEY_free(key)
            throw .unavailable("certificates of P-256")
        }
        self.key = key
        self.certificate = certificate
    }

    /// Takes a certificate in DER and its private key in PKCS #8 from elsewhere. Throws
    /// `TLSError.unavailable` when they cannot be read.
    package init(certificate der: [UInt8], privateKey: [UInt8]) throws(TLSError) {
        defer { ERR_clear_error() }
        let certificate: OpaquePointer? = der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_X509(nil, &position, buffer.count)
        }
        guard let certificate else { throw .unavailable("the certificate") }
        let key: OpaquePointer? = privateKey.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_AutoPrivateKey(nil, &position, buffer.count)
        }
        guard let key else {
            X509_free(certificate)
            throw .unavailable("the certificate's key")
        }
        self.certificate = certificate
        self.key = key
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    /// The certificate as a peer gets it.
    package var der: [UInt8] { LibcryptoDER.encode { i2d_X509(certificate, $0) } ?? [] }

    private static func generateKey() -> OpaquePointer? {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else { return nil }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_group_name(context, "P-256") == 1,
            EVP_PKEY_keygen(context, &key) == 1
        else { return nil }
        return key
    }

    private static func makeCertificate(for key: OpaquePointer, _ identity: Identity) -> OpaquePointer? {
        guard let keyInfo = LibcryptoDER.encode({ i2d_PUBKEY(key, $0) }),
            let certificate = X509_new()
        else { return nil }
        let extensionValue = SignedKey(identity: identity, keyInfo: keyInfo).der
        guard fill(certificate, key: key, extensionValue: extensionValue),
            X509_sign(certificate, key, EVP_sha256()) > 0
        else {
            X509_free(certificate)
            return nil
        }
        return certificate
    }

    private static func fill(
        _ certificate: OpaquePointer, key: OpaquePointer, extensionValue: [UInt8]
    ) -> Bool {
        guard let name = X509_NAME_new() else { return false }
        defer { X509_NAME_free(name) }
        // As go-libp2p's: numbers that say nothing, positive and below 2^62.
        let serial = UInt64.random(in: 1..<(1 << 62))
        let subject = Array(String(UInt64.random(in: 1..<(1 << 62))).utf8)
        // X.509 version 3 is written as 2.
        return X509_set_version(certificate, 2) == 1
            && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1
            && X509_NAME_add_entry_by_NID(
                name, NID_serialNumber, MBSTRING_ASC, subject, Int32(subject.count), -1, 0) == 1
            && X509_set_subject_name(certificate, name) == 1
            && X509_set_issuer_name(certificate, name) == 1
            && ASN1_TIME_set_string(X509_getm_notBefore(certificate), "700101000000Z") == 1
            // RFC 5280 section 4.1.2.5: no end.
            && ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") == 1
            && X509_set_pubkey(certificate, key) == 1
            && add(extensionValue, to: certificate)
    }

    private static func add(_ value: [UInt8], to certificate: OpaquePointer) -> Bool {
        guard let object = OBJ_txt2obj("1.3.6.1.4.1.53594.1.1", 1) else { return false }
        defer { ASN1_OBJECT_free(object) }
        guard let data = ASN1_OCTET_STRING_new() else { return false }
        defer { ASN1_OCTET_STRING_free(data) }
        guard ASN1_OCTET_STRING_set(data, value, Int32(clamping: value.count)) == 1,
            let added = X509_EXTENSION_create_by_OBJ(nil, object, 0, data)
        else { return false }
        defer { X509_EXTENSION_free(added) }
        return X509_add_ext(certificate, added, -1) == 1
    }
}
