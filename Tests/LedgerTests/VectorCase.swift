import Foundation
import Ledger
import TestSupport
import Testing

/// One case of a vector file, its fields kept as raw JSON: the ledger's own reader takes them apart, so
/// numbers stay exact and texts keep their bytes.
struct VectorCase: CustomTestStringConvertible {
    let fields: [String: [UInt8]]

    static func load(_ file: String) throws -> [VectorCase] {
        try list(VectorCase(try [UInt8](Vectors.data(file))).raw("cases"))
    }

    init(_ json: [UInt8]) throws {
        var fields: [String: [UInt8]] = [:]
        var reader = JSONReader(json)
        try reader.readObject { (reader, name) throws(JSONError) in
            _ = try reader.peek()
            let start = reader.offset
            try reader.skipValue()
            fields[name.string] = Array(json[start..<reader.offset])
        }
        self.fields = fields
    }

    static func list(_ json: [UInt8]) throws -> [VectorCase] {
        try elements(json).map { try VectorCase($0) }
    }

    static func elements(_ json: [UInt8]) throws -> [[UInt8]] {
        var elements: [[UInt8]] = []
        var reader = JSONReader(json)
        try reader.readArray { (reader) throws(JSONError) in
            _ = try reader.peek()
            let start = reader.offset
            try reader.skipValue()
            elements.append(Array(json[start..<reader.offset]))
        }
        return elements
    }

    struct Missing: Error { let field: String }

    func has(_ name: String) -> Bool {
        fields[name].map { $0 != Array("null".utf8) } ?? false
    }

    func raw(_ name: String) throws -> [UInt8] {
        guard let value = fields[name] else { throw Missing(field: name) }
        return value
    }

    func text(_ name: String) throws -> LedgerText {
        var reader = JSONReader(try raw(name))
        return try reader.readText()
    }

    func string(_ name: String) throws -> String { try text(name).string }

    func int(_ name: String) throws -> Int64 {
        var reader = JSONReader(try raw(name))
        return try reader.readInt64()
    }

    func unsigned(_ name: String) throws -> UInt64 {
        var reader = JSONReader(try raw(name))
        return try reader.readUInt64()
    }

    func bool(_ name: String) throws -> Bool {
        var reader = JSONReader(try raw(name))
        return try reader.readBoolean()
    }

    func hex(_ name: String) throws -> [UInt8] {
        guard let bytes = Hex.decode(try string(name)) else { throw Missing(field: name) }
        return bytes
    }

    func nested(_ name: String) throws -> VectorCase { try VectorCase(try raw(name)) }

    var kind: String { (try? string("kind")) ?? "" }

    var testDescription: String { (try? string("name")) ?? (try? string("id")) ?? kind }
}
