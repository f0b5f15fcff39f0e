#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The encoding of values in the Kairos bucket: the JSON of the value, as base64url with padding, as
/// a JSON string (contract/wire.md M.1).
package enum KairosValue {
    /// The entry text of the application value `text`, a string.
    package static func encode(_ text: String) -> String {
        wrap(json(text))
    }

    /// The entry text of an advertisement at `moment`, an RFC 3339 text: `{"Time":"…"}`.
    package static func encode(advertisedAt moment: String) -> String {
        wrap("{\"Time\":" + json(moment) + "}")
    }

    /// The string that an entry text holds; nil when it holds anything else or is longer than
    /// `longestText`.
    package static func decodeString(_ entry: String) -> String? {
        guard let data = unwrap(entry) else { return nil }
        return try? JSONDecoder().decode(String.self, from: data)
    }

    /// The moment of an advertisement, as its text; nil when the entry is none.
    package static func decodeAdvertisement(_ entry: String) -> String? {
        struct Advertisement: Decodable {
            let time: String
            enum CodingKeys: String, CodingKey { case time = "Time" }
        }
        guard let data = unwrap(entry) else { return nil }
        return (try? JSONDecoder().decode(Advertisement.self, from: data))?.time
    }

    /// The longest entry text that is read, in bytes.
    package static let longestText = 256 * 1024

    private static func json(_ text: String) -> String {
        // Most values are names, addresses and tokens, in which there is nothing to escape.
        let isPlain = text.utf8.allSatisfy {
            $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        if isPlain { return "\"" + text + "\"" }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        // A Swift string is valid Unicode, which JSON always holds.
        guard let data = try? encoder.encode(text) else { return "\"\"" }
        return String(decoding: data, as: UTF8.self)
    }

    private static func wrap(_ json: String) -> String {
        let base64 = Data(json.utf8).base64EncodedString()
        var text: [UInt8] = [UInt8(ascii: "\"")]
        text.reserveCapacity(base64.utf8.count + 2)
        for character in base64.utf8 {
            switch character {
            case UInt8(ascii: "+"): text.append(UInt8(ascii: "-"))
            case UInt8(ascii: "/"): text.append(UInt8(ascii: "_"))
            default: text.append(character)
            }
        }
        text.append(UInt8(ascii: "\""))
        return String(decoding: text, as: UTF8.self)
    }

    private static func unwrap(_ entry: String) -> Data? {
        guard entry.utf8.count <= longestText,
            let base64 = try? JSONDecoder().decode(String.self, from: Data(entry.utf8))
        else { return nil }
        return Data(base64Encoded: String(base64.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }))
    }
}
