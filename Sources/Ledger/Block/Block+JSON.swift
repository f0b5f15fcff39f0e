extension Block {
    /// The block's JSON text, byte for byte as Go writes it: fields in Go's order, map keys sorted by
    /// their bytes.
    package func encoded() -> [UInt8] {
        var writer = JSONWriter()
        writer.raw(#"{"Index":"#)
        writer.number(index)
        writer.raw(#","Timestamp":"#)
        writer.string(timestamp)
        writer.raw(#","Storage":{"#)
        for (place, bucket) in storage.keys.sorted().enumerated() {
            if place > 0 { writer.raw(",") }
            writer.string(bucket)
            writer.raw(":{")
            let keys = storage[bucket, default: [:]].sorted { $0.key < $1.key }
            for (place, (key, entry)) in keys.enumerated() {
                if place > 0 { writer.raw(",") }
                writer.string(key)
                writer.raw(":")
                entry.write(to: &writer)
            }
            writer.raw("}")
        }
        writer.raw(#"},"Hash":"#)
        writer.string(hash)
        writer.raw(#","PrevHash":"#)
        writer.string(previousHash)
        writer.raw("}")
        return writer.bytes
    }

    /// Decodes a block's JSON text. Field names match in any letter case, unknown fields are ignored,
    /// missing and null ones are zero; one entry that is neither a string nor an object refuses the
    /// whole block, as it does for Go.
    ///
    /// Throws `JSONError` when the text is not such a block or goes over `limits`.
    package static func decode(_ text: [UInt8], limits: BlockLimits = BlockLimits()) throws(JSONError)
        -> Block
    {
        guard text.count <= limits.maximumBytes else { throw .tooLarge }
        var reader = JSONReader(text, maximumDepth: limits.maximumDepth)
        var block = Block()
        if try !reader.readNull() {
            var remaining = limits.maximumItems
            try reader.readObject { (reader, name) throws(JSONError) in
                try block.readField(name, from: &reader, remaining: &remaining)
            }
        }
        try reader.finish()
        return block
    }

    private mutating func readField(
        _ name: LedgerText, from reader: inout JSONReader, remaining: inout Int
    ) throws(JSONError) {
        if try reader.readNull() {
            if name.namesField("Storage") { storage = [:] }
            return
        }
        if name.namesField("Index") {
            index = try reader.readInt64()
        } else if name.namesField("Timestamp") {
            timestamp = try reader.readText()
        } else if name.namesField("Hash") {
            hash = try reader.readText()
        } else if name.namesField("PrevHash") {
            previousHash = try reader.readText()
        } else if name.namesField("Storage") {
            // A second Storage adds to the first; a bucket given twice replaces the earlier one.
            var left = remaining
            var merged = storage
            try reader.readObject { (reader, bucket) throws(JSONError) in
                try Self.spend(&left)
                merged[bucket] = try Self.readBucket(from: &reader, remaining: &left)
            }
            (storage, remaining) = (merged, left)
        } else {
            try reader.skipValue()
        }
    }

    private static func readBucket(
        from reader: inout JSONReader, remaining: inout Int
    ) throws(JSONError) -> [LedgerText: Entry] {
        var bucket: [LedgerText: Entry] = [:]
        if try reader.readNull() { return bucket }
        var left = remaining
        try reader.readObject { (reader, key) throws(JSONError) in
            try spend(&left)
            bucket[key] = try Entry.read(from: &reader)
        }
        remaining = left
        return bucket
    }

    private static func spend(_ remaining: inout Int) throws(JSONError) {
        guard remaining > 0 else { throw .tooLarge }
        remaining -= 1
    }
}

extension Entry {
    /// Appends the entry as Go writes it: a bare string when nobody signed it, else an object.
    package func write(to writer: inout JSONWriter) {
        guard !isBare else { return writer.string(value) }
        writer.raw(#"{"Value":"#)
        writer.string(value)
        writer.raw(#","Owner":"#)
        writer.string(owner)
        writer.raw(#","Version":"#)
        writer.number(version)
        writer.raw(#","UpdatedAt":"#)
        writer.number(updatedAt)
        writer.raw(#","Deleted":"#)
        writer.boolean(isDeleted)
        writer.raw(#","Sig":"#)
        if let signature {
            writer.raw("\"" + Base64.encode(signature) + "\"")
        } else {
            writer.raw("null")
        }
        writer.raw("}")
    }

    /// The entry's JSON text.
    package func encoded() -> [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    /// Reads an entry: a string, an object, or null for an empty unsigned one.
    static func read(from reader: inout JSONReader) throws(JSONError) -> Entry {
        var entry = Entry(value: "")
        switch try reader.peek() {
        case .string:
            entry.value = try reader.readText()
        case .null:
            _ = try reader.readNull()
        case .object:
            try reader.readObject { (reader, name) throws(JSONError) in
                try entry.readField(name, from: &reader)
            }
        case .array, .number, .boolean:
            throw .wrongType(offset: reader.offset)
        }
        return entry
    }

    private mutating func readField(_ name: LedgerText, from reader: inout JSONReader) throws(JSONError) {
        if name.namesField("Sig") {
            signature = try Self.readSignature(from: &reader)
        } else if try reader.readNull() {
            return
        } else if name.namesField("Value") {
            value = try reader.readText()
        } else if name.namesField("Owner") {
            owner = try reader.readText()
        } else if name.namesField("Version") {
            version = try reader.readUInt64()
        } else if name.namesField("UpdatedAt") {
            updatedAt = try reader.readInt64()
        } else if name.namesField("Deleted") {
            isDeleted = try reader.readBoolean()
        } else {
            try reader.skipValue()
        }
    }

    /// Reads a byte string as Go does: base64, null, or a list of numbers.
    private static func readSignature(from reader: inout JSONReader) throws(JSONError) -> [UInt8]? {
        if try reader.readNull() { return nil }
        let start = reader.offset
        guard try reader.peek() == .array else {
            guard let bytes = Base64.decode(try reader.readText().utf8) else {
                throw .badBase64(offset: start)
            }
            return bytes
        }
        var bytes: [UInt8] = []
        try reader.readArray { (reader) throws(JSONError) in
            guard let byte = UInt8(exactly: try reader.readUInt64()) else {
                throw .numberOutOfRange(offset: reader.offset)
            }
            bytes.append(byte)
        }
        return bytes
    }
}
