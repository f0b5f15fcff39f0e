import Foundation
import TestSupport
import Testing

/// A file of vectors with cases of one type.
struct VectorFile<Case: Decodable>: Decodable {
    let cases: [Case]

    static func load(_ name: String) -> [Case] {
        // A missing file shows in the test that counts the cases.
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return (try? decoder.decode(VectorFile<Case>.self, from: Vectors.data(name)).cases) ?? []
    }
}

struct TokenCase: Decodable, Sendable, CustomTestStringConvertible {
    struct Password: Decodable, Sendable {
        let interval: Int64
        let key: String
        let length: Int64
    }
    struct OTP: Decodable, Sendable {
        let dht: Password
        let crypto: Password
    }
    struct Fields: Decodable, Sendable {
        let maxMessageSize: Int64
        let mdns: String
        let otp: OTP
        let rendezvous: String
        let room: String
    }
    struct Runtime: Decodable, Sendable {
        let rendezvousPanics: String?
        let sealKeyPanics: String?
    }

    let name: String
    let kind: String
    let token: String?
    let yaml: String?
    let fields: Fields?
    let errorClass: String?
    let runtime: Runtime?
    var testDescription: String { name }
}

struct OTPCase: Decodable, Sendable, CustomTestStringConvertible {
    let kind: String
    let unix: Int64
    let key: String?
    let interval: Int64?
    let digits: Int?
    let counter: UInt64?
    let totp: String?
    let md5: String?
    let panics: String?
    let token: String?
    let topic: String?
    let sealKey: String?
    let rendezvous: String?
    var testDescription: String { "\(kind) at \(unix), \(interval ?? 0) s, \(digits ?? 0)" }
}

struct SealCase: Decodable, Sendable, CustomTestStringConvertible {
    struct Repeat: Decodable, Sendable {
        let unit: String
        let count: Int
    }
    let kind: String
    let name: String
    let keyText: String
    let nonce: String?
    let aesKey: String?
    let plaintextHex: String?
    let plaintextRepeat: Repeat?
    let sealed: String?
    let lenient: Bool?
    var testDescription: String { name }
}

struct HubCase: Decodable, Sendable, CustomTestStringConvertible {
    let kind: String
    let name: String?
    let sealKeyText: String?
    let blockJson: String?
    let gzipHex: String?
    let sealed: String?
    let nonce: String?
    let messageJson: String?
    let data: String?
    let dataHex: String?
    let stage: String?
    let ledgerStorageAfter: [String: [String: String]]?
    let inputHex: String?
    let goJson: String?
    var testDescription: String { name ?? inputHex ?? kind }
}

struct NextAddressCase: Decodable, Sendable, CustomTestStringConvertible {
    let `default`: String
    let inUse: [String]
    let next: String
    var testDescription: String { "\(inUse)" }
}

/// The bytes that a vector's hex field spells.
func unhex(_ text: String?) throws -> [UInt8] {
    let text = try #require(text)
    return try #require(Hex.decode(text))
}
