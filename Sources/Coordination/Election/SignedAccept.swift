package import LibP2P

/// One member's signed word that it accepted a value at a ballot. A quorum of them is a certificate
/// that anyone can check, whatever has since become of the registers they were written in.
package struct SignedAccept: Hashable, Sendable {
    package let acceptor: PeerID
    package let ballot: Ballot
    package let value: FoundingValue
    /// The acceptor's identity signature over `statement(in:acceptor:ballot:value:)`.
    package let signature: [UInt8]

    package init(acceptor: PeerID, ballot: Ballot, value: FoundingValue, signature: [UInt8]) {
        self.acceptor = acceptor
        self.ballot = ballot
        self.value = value
        self.signature = signature
    }

    /// The bytes that an acceptor signs: a purpose string and every field, each preceded by its
    /// length as 8 bytes big endian, so that no two statements share bytes.
    package static func statement(
        in scope: ElectionScope, acceptor: PeerID, ballot: Ballot, value: FoundingValue
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ field: some Collection<UInt8>) {
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: field)
        }
        func append(_ number: UInt64) {
            withUnsafeBytes(of: number.bigEndian) { append(Array($0)) }
        }
        append(Array("kairos founding accept 1".utf8))
        append(Array(scope.network.utf8))
        append(scope.epoch)
        append(UInt64(max(0, scope.quorum)))
        append(acceptor.bytes)
        append(ballot.round)
        append(ballot.proposer.bytes)
        append(value.founder.bytes)
        append(Array(value.uuid.utf8))
        return bytes
    }

    /// Whether the signature is the acceptor's over this accept within `scope`.
    package func isValid(in scope: ElectionScope) -> Bool {
        guard let key = acceptor.publicKey else { return false }
        let statement = Self.statement(in: scope, acceptor: acceptor, ballot: ballot, value: value)
        return key.verify(signature, of: statement)
    }
}
