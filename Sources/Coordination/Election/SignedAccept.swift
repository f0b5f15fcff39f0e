package import LibP2P

/// One member's signed word that it accepted a decree at a ballot. A quorum of them is a certificate
/// that anyone can check, whatever has since become of the registers they were written in.
package struct SignedAccept: Hashable, Sendable {
    package let acceptor: PeerID
    package let ballot: Ballot
    package let decree: Decree
    /// The acceptor's identity signature over `statement(in:acceptor:ballot:decree:)`.
    package let signature: [UInt8]

    package init(acceptor: PeerID, ballot: Ballot, decree: Decree, signature: [UInt8]) {
        self.acceptor = acceptor
        self.ballot = ballot
        self.decree = decree
        self.signature = signature
    }

    /// The bytes that an acceptor signs: a purpose string and every field, each preceded by its
    /// length as 8 bytes big endian, lists by their count, so that no two statements share bytes.
    package static func statement(
        in scope: ElectionScope, acceptor: PeerID, ballot: Ballot, decree: Decree
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ field: some Collection<UInt8>) {
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: field)
        }
        func append(_ number: UInt64) {
            withUnsafeBytes(of: number.bigEndian) { append(Array($0)) }
        }
        func append(_ server: ElectedServer) {
            append(server.peer.bytes)
            append(Array(server.uuid.utf8))
        }
        append(Array("kairos decree accept 1".utf8))
        append(Array(scope.network.utf8))
        append(UInt64(max(0, scope.quorum)))
        append(acceptor.bytes)
        append(ballot.round)
        append(ballot.proposer.bytes)
        append(decree.number)
        append(decree.epoch)
        append(decree.founder)
        append(decree.isRunning ? 1 : 0)
        append(UInt64(decree.servers.count))
        for server in decree.servers { append(server) }
        append(UInt64(decree.forgotten.count))
        for peer in decree.forgotten { append(peer.bytes) }
        append(UInt64(max(0, decree.quorum)))
        return bytes
    }

    /// Whether the signature is the acceptor's over this accept within `scope`.
    package func isValid(in scope: ElectionScope) -> Bool {
        guard let key = acceptor.publicKey else { return false }
        let statement = Self.statement(in: scope, acceptor: acceptor, ballot: ballot, decree: decree)
        return key.verify(signature, of: statement)
    }
}
