/// The bytes that an entry's owner signs (contract/wire.md J.7): every text with its length as 8
/// bytes big-endian before it, versions and times as 8 bytes big-endian.
package enum CanonicalEntry {
    /// The canonical bytes of `entry` under `id`.
    package static func bytes(of entry: Entry, at id: EntryID) -> [UInt8] {
        bytes(
            bucket: id.bucket.utf8, key: id.key.utf8, owner: entry.owner.utf8, version: entry.version,
            updatedAt: entry.updatedAt, isDeleted: entry.isDeleted, value: entry.value.utf8)
    }

    /// The canonical bytes of fields that may hold any bytes.
    package static func bytes(
        bucket: some Collection<UInt8>, key: some Collection<UInt8>, owner: some Collection<UInt8>,
        version: UInt64, updatedAt: Int64, isDeleted: Bool, value: some Collection<UInt8>
    ) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(49 + bucket.count + key.count + owner.count + value.count)
        append(field: bucket, to: &output)
        append(field: key, to: &output)
        append(field: owner, to: &output)
        append(version, to: &output)
        append(UInt64(bitPattern: updatedAt), to: &output)
        output.append(isDeleted ? 1 : 0)
        append(field: value, to: &output)
        return output
    }

    private static func append(field: some Collection<UInt8>, to output: inout [UInt8]) {
        append(UInt64(field.count), to: &output)
        output.append(contentsOf: field)
    }

    private static func append(_ number: UInt64, to output: inout [UInt8]) {
        withUnsafeBytes(of: number.bigEndian) { output.append(contentsOf: $0) }
    }
}
