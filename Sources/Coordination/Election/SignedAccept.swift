package import LibP2P

/// One member's signed word that it accepted a decree at a ballot. Enough of them are a certificate that anyone
/// can check, whatever has since become of the registers they were written in.
package struct SignedAccept: Hashable, Sendable {
    package let acceptor: PeerID
    package let ballot: Ballot
    package let decree: Decree
    /// The acceptor's identity signature over `AcceptStatement.bytes(acceptor:)`.
    package let signature: [UInt8]

    package init(acceptor: PeerID, ballot: Ballot, decree: Decree, signature: [UInt8]) {
        self.acceptor = acceptor
        self.ballot = ballot
        self.decree = decree
        self.signature = signature
    }

    /// Whether the signature is the acceptor's over this accept, as a vote among `electorate` of `network`.
    package func isValid(in network: String, among electorate: Electorate) -> Bool {
        AcceptStatement(network: network, electorate: electorate, ballot: ballot, decree: decree)
            .isSigned(by: acceptor, signature)
    }
}

/// What an acceptor signs. The decree is in it by its number, its voters and its digest, so that the votes of a
/// long list of decrees can be checked without their texts.
package struct AcceptStatement: Hashable, Sendable {
    let network: String
    let electorate: Electorate
    let ballot: Ballot
    let number: UInt64
    let voters: [PeerID]
    let digest: [UInt8]
    /// Set for a decree of former builds, which signed other bytes.
    private let former: Decree?

    package init(network: String, electorate: Electorate, ballot: Ballot, decree: Decree) {
        self.network = network
        self.electorate = electorate
        self.ballot = ballot
        self.number = decree.number
        self.voters = decree.voters
        self.digest = Self.digest(of: decree)
        self.former = decree.formerQuorum == nil ? nil : decree
    }

    init(
        network: String, electorate: Electorate, ballot: Ballot, number: UInt64, voters: [PeerID],
        digest: [UInt8]
    ) {
        self.network = network
        self.electorate = electorate
        self.ballot = ballot
        self.number = number
        self.voters = voters
        self.digest = digest
        self.former = nil
    }

    /// The signed bytes: a purpose string and every field, each preceded by its length as 8 bytes big endian,
    /// lists by their count, so that no two statements share bytes.
    package func bytes(acceptor: PeerID) -> [UInt8] {
        var fields = SignedFields()
        if let former {
            fields.append("kairos decree accept 1")
            fields.append(network)
            fields.append(UInt64(max(0, electorate.needed)))
            fields.append(acceptor.bytes)
            fields.append(ballot.round)
            fields.append(ballot.proposer.bytes)
            fields.append(former)
            fields.append(UInt64(max(0, former.formerQuorum ?? 0)))
            return fields.bytes
        }
        fields.append("kairos decree accept 2")
        fields.append(network)
        switch electorate {
        case .members(let quorum):
            fields.append("members")
            fields.append(UInt64(max(0, quorum)))
        case .voters(let voters):
            fields.append("voters")
            fields.append(voters)
        case .recovered(let nodes):
            fields.append("recovered")
            fields.append(nodes)
        }
        fields.append(acceptor.bytes)
        fields.append(ballot.round)
        fields.append(ballot.proposer.bytes)
        fields.append(number)
        fields.append(voters)
        fields.append(digest)
        return fields.bytes
    }

    func isSigned(by acceptor: PeerID, _ signature: [UInt8]) -> Bool {
        guard let key = acceptor.publicKey else { return false }
        return key.verify(signature, of: bytes(acceptor: acceptor))
    }

    /// The SHA-256 of every field of the decree, 32 bytes.
    private static func digest(of decree: Decree) -> [UInt8] {
        var fields = SignedFields()
        fields.append("kairos decree 2")
        fields.append(decree)
        fields.append(decree.voters)
        return Crypto.sha256(fields.bytes)
    }
}

/// Fields one after the other, each with its length before it as 8 bytes big endian.
private struct SignedFields {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ field: some Collection<UInt8>) {
        withUnsafeBytes(of: UInt64(field.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: field)
    }

    mutating func append(_ text: String) { append(Array(text.utf8)) }

    mutating func append(_ number: UInt64) {
        withUnsafeBytes(of: number.bigEndian) { append(Array($0)) }
    }

    mutating func append(_ peers: [PeerID]) {
        append(UInt64(peers.count))
        for peer in peers { append(peer.bytes) }
    }

    private mutating func append(_ server: ElectedServer) {
        append(server.peer.bytes)
        append(server.uuid)
    }

    mutating func append(_ decree: Decree) {
        append(decree.number)
        append(decree.epoch)
        append(decree.founder)
        append(decree.isRunning ? 1 : 0)
        append(UInt64(decree.servers.count))
        for server in decree.servers { append(server) }
        append(decree.forgotten)
    }
}
