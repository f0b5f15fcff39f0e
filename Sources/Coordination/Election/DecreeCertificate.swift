package import LibP2P
internal import Timing

/// Proof that those who had to decide have accepted one decree at one ballot. Every role is obeyed only with it.
///
/// That it is proven is not yet a reason to believe it: anybody can make keys, name them voters and have them
/// vote. It is believed by who follows it from what it knows already (`isReached(from:)`).
package struct DecreeCertificate: Hashable, Sendable {
    /// Names the network: a digest of the network token and `p2p.network_id`.
    package let network: String
    package let electorate: Electorate
    package let ballot: Ballot
    package let decree: Decree
    /// The accepts, one a member, ordered by acceptor.
    package let accepts: [SignedAccept]
    /// The former decisions at which the voters changed, the oldest first, at most `CertificateLink.most`: by them
    /// whoever has been away finds its way from the voters it knows to those of `electorate`.
    package let links: [CertificateLink]

    /// Assembles a certificate from `accepts`; nil when they do not prove the decision: fewer than needed of those
    /// whose word counts, another ballot or decree among them, or a wrong signature.
    package init?(
        network: String, electorate: Electorate, ballot: Ballot, decree: Decree, accepts: [SignedAccept],
        links: [CertificateLink] = []
    ) {
        guard electorate.isWellFormed, decree.isWellFormed, accepts.count <= Self.mostAccepts,
            Self.fits(electorate, decree), links.count <= CertificateLink.most,
            zip(links, links.dropFirst()).allSatisfy({ $0.number < $1.number }),
            links.last.map({ $0.number < decree.number }) ?? true
        else { return nil }
        guard accepts.allSatisfy({ $0.ballot == ballot && $0.decree == decree }),
            Self.isProven(
                AcceptStatement(network: network, electorate: electorate, ballot: ballot, decree: decree),
                by: accepts.map { ($0.acceptor, $0.signature) })
        else { return nil }
        self.network = network
        self.electorate = electorate
        self.ballot = ballot
        self.decree = decree
        self.accepts = accepts.sorted { $0.acceptor < $1.acceptor }
        self.links = links
    }

    /// The same certificate with the way to it that this node knows.
    func with(links: [CertificateLink]) -> DecreeCertificate {
        DecreeCertificate(copying: self, links: links)
    }

    private init(copying other: DecreeCertificate, links: [CertificateLink]) {
        network = other.network
        electorate = other.electorate
        ballot = other.ballot
        decree = other.decree
        accepts = other.accepts
        self.links = Array(links.suffix(CertificateLink.most))
    }

    /// Only the founding is decided by members whom nobody has named; in former builds every decree was.
    private static func fits(_ electorate: Electorate, _ decree: Decree) -> Bool {
        guard case .members(let quorum) = electorate else {
            return decree.number > 1 && decree.formerQuorum == nil
        }
        if let former = decree.formerQuorum { return decree.number > 1 || former == quorum }
        return decree.number == 1
    }

    /// Whether `votes` are signatures under `statement` of enough of those whose word counts, each once, and of
    /// nobody else.
    static func isProven(_ statement: AcceptStatement, by votes: [(acceptor: PeerID, signature: [UInt8])])
        -> Bool
    {
        votes.count >= statement.electorate.needed && statement.electorate.needed >= 1
            && Set(votes.map(\.acceptor)).count == votes.count
            && votes.allSatisfy { statement.electorate.includes($0.acceptor) }
            && votes.allSatisfy { statement.isSigned(by: $0.acceptor, $0.signature) }
    }

    /// Whether this certificate follows from a decree whose voters are `trusted` and whose number is `number`: its
    /// accepts, or those of links between them, one after the other, hold a majority of the voters that are known
    /// so far.
    /// - Parameter obeysRecovery: whether an operator has told this node that the voters were lost, so that the
    ///   word of nodes that were recovered counts.
    package func isReached(from trusted: [PeerID], number: UInt64, obeysRecovery: Bool) -> Bool {
        var trusted = trusted
        func believes(_ acceptors: [PeerID], _ electorate: Electorate) -> Bool {
            if case .recovered = electorate, obeysRecovery { return true }
            return acceptors.count { trusted.contains($0) } >= Voters.majority(of: trusted.count)
        }
        for link in links where link.number > number && believes(link.acceptors, link.electorate) {
            trusted = link.voters
        }
        return believes(accepts.map(\.acceptor), electorate)
    }

    /// What a later certificate says of this one: nil where those who decided decide again.
    var link: CertificateLink? {
        switch electorate {
        case .members: nil
        case .voters(let voters): Set(voters) == Set(decree.voters) ? nil : CertificateLink(of: self)
        case .recovered: CertificateLink(of: self)
        }
    }

    /// The largest number of accepts a certificate may carry: to check them takes about 15 ms.
    package static let mostAccepts = 256
}

/// A decision at which the voters changed: the proof of it, without the decree.
package struct CertificateLink: Hashable, Sendable {
    package let number: UInt64
    package let electorate: Electorate
    package let ballot: Ballot
    /// The voters of the next decision.
    package let voters: [PeerID]
    /// The digest of the decree, 32 bytes.
    package let digest: [UInt8]
    package let votes: [PeerID: [UInt8]]

    /// How many are kept: more changes of the voters than that must not have been missed.
    package static let most = 16

    init(of certificate: DecreeCertificate) {
        let statement = AcceptStatement(
            network: certificate.network, electorate: certificate.electorate, ballot: certificate.ballot,
            decree: certificate.decree)
        number = certificate.decree.number
        electorate = certificate.electorate
        ballot = certificate.ballot
        voters = certificate.decree.voters
        digest = statement.digest
        votes = Dictionary(certificate.accepts.map { ($0.acceptor, $0.signature) }) { first, _ in first }
    }

    /// Nil when it is malformed or not proven.
    init?(
        network: String, number: UInt64, electorate: Electorate, ballot: Ballot, voters: [PeerID],
        digest: [UInt8],
        votes: [PeerID: [UInt8]]
    ) {
        guard WireCounter(number) != nil, number > 1, electorate.isWellFormed, electorate.named != nil,
            Voters.areWellFormed(voters), digest.count == 32,
            DecreeCertificate.isProven(
                AcceptStatement(
                    network: network, electorate: electorate, ballot: ballot, number: number, voters: voters,
                    digest: digest),
                by: votes.map { ($0.key, $0.value) })
        else { return nil }
        self.number = number
        self.electorate = electorate
        self.ballot = ballot
        self.voters = voters
        self.digest = digest
        self.votes = votes
    }

    var acceptors: [PeerID] { Array(votes.keys) }
}
