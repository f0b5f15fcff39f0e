internal import LibP2P
internal import Timing

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// Registers, certificates and the saved state as JSON: the values of ledger entries and the
/// content of `election.state`. Peer IDs are base58 text, signatures standard base64.
package enum ElectionCodec {
    /// The longest text that is read, in UTF-8 bytes.
    package static let longestText = 512 * 1024

    /// `register` as the value of its ledger entry.
    package static func encode(_ register: ElectionRegister) -> String { json(RegisterText(register)) }

    /// `certificate` as the value of its ledger entry.
    package static func encode(_ certificate: DecreeCertificate) -> String {
        json(CertificateText(certificate))
    }

    /// `state` as the content of its file.
    package static func encode(_ state: ElectionState) -> String { json(StateText(state)) }

    /// The register that `text` spells; nil when it is anything else.
    package static func register(from text: String) -> ElectionRegister? {
        parse(RegisterText.self, text)?.value
    }

    /// The certificate that `text` spells, checked; nil when it is anything else or proves nothing.
    package static func certificate(from text: String) -> DecreeCertificate? {
        parse(CertificateText.self, text)?.value
    }

    /// The saved state that `text` spells; nil when it is anything else.
    package static func state(from text: String) -> ElectionState? {
        parse(StateText.self, text)?.value
    }

    private static func json(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings and integers only: there is nothing that JSON cannot hold.
        guard let data = try? encoder.encode(value) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    private static func parse<Text: Decodable>(_ type: Text.Type, _ text: String) -> Text? {
        guard text.utf8.count <= longestText else { return nil }
        return try? JSONDecoder().decode(type, from: Data(text.utf8))
    }
}

private struct ScopeText: Codable {
    let network: String
    let quorum: Int

    init(_ scope: ElectionScope) {
        network = scope.network
        quorum = scope.quorum
    }

    var value: ElectionScope? {
        guard quorum >= 1, quorum <= DecreeCertificate.mostAccepts else { return nil }
        return ElectionScope(network: network, quorum: quorum)
    }
}

/// The peers that `texts` spell; nil when one is none, or when there are more than `most`.
private func peers(_ texts: [String], most: Int) -> [PeerID]? {
    guard texts.count <= most else { return nil }
    let peers = texts.compactMap { try? PeerID($0) }
    return peers.count == texts.count ? peers : nil
}

private struct ElectorateText: Codable {
    var members: Int?
    var voters: [String]?
    var recovered: [String]?

    init(_ electorate: Electorate) {
        switch electorate {
        case .members(let quorum): members = quorum
        case .voters(let peers): voters = peers.map(\.description)
        case .recovered(let peers): recovered = peers.map(\.description)
        }
    }

    var value: Electorate? {
        switch (members, voters, recovered) {
        case (let quorum?, nil, nil): return .members(quorum: quorum)
        case (nil, let texts?, nil): return peers(texts, most: Voters.most).map(Electorate.voters)
        case (nil, nil, let texts?):
            return peers(texts, most: DecreeCertificate.mostAccepts).map(Electorate.recovered)
        default: return nil
        }
    }
}

private struct BallotText: Codable {
    let round: UInt64
    let proposer: String

    init(_ ballot: Ballot) {
        round = ballot.round
        proposer = ballot.proposer.description
    }

    var value: Ballot? {
        guard let peer = try? PeerID(proposer), WireCounter(round) != nil else { return nil }
        return Ballot(round: round, proposer: peer)
    }
}

private struct ServerText: Codable {
    let peer: String
    let uuid: String

    init(_ server: ElectedServer) {
        peer = server.peer.description
        uuid = server.uuid
    }

    var value: ElectedServer? {
        guard let peer = try? PeerID(peer) else { return nil }
        return ElectedServer(peer: peer, uuid: uuid)
    }
}

private struct DecreeText: Codable {
    let number: UInt64
    let epoch: UInt64
    let founder: ServerText
    let running: Bool
    let servers: [ServerText]
    let forgotten: [String]
    let voters: [String]?
    /// Of former builds, which named no voters.
    let quorum: Int?

    init(_ decree: Decree) {
        number = decree.number
        epoch = decree.epoch
        founder = ServerText(decree.founder)
        running = decree.isRunning
        servers = decree.servers.map(ServerText.init)
        forgotten = decree.forgotten.map(\.description)
        quorum = decree.formerQuorum
        voters = decree.formerQuorum == nil ? decree.voters.map(\.description) : nil
    }

    var value: Decree? {
        guard servers.count <= Decree.mostServers, let founder = founder.value,
            let gone = peers(forgotten, most: Decree.mostForgotten)
        else { return nil }
        let elected = servers.compactMap(\.value)
        guard elected.count == servers.count else { return nil }
        let decree: Decree
        switch (voters, quorum) {
        case (let texts?, nil):
            guard let voters = peers(texts, most: Voters.most) else { return nil }
            decree = Decree(
                number: number, epoch: epoch, founder: founder, isRunning: running, servers: elected,
                forgotten: gone, voters: voters)
        case (nil, let quorum?):
            decree = Decree(
                number: number, epoch: epoch, founder: founder, isRunning: running, servers: elected,
                forgotten: gone, formerQuorum: quorum)
        default: return nil
        }
        return decree.isWellFormed ? decree : nil
    }
}

private struct AcceptText: Codable {
    let acceptor: String
    let ballot: BallotText
    let decree: DecreeText
    let signature: Data

    init(_ accept: SignedAccept) {
        acceptor = accept.acceptor.description
        ballot = BallotText(accept.ballot)
        decree = DecreeText(accept.decree)
        signature = Data(accept.signature)
    }

    var accept: SignedAccept? {
        guard let peer = try? PeerID(acceptor), let ballot = ballot.value, let decree = decree.value else {
            return nil
        }
        return SignedAccept(acceptor: peer, ballot: ballot, decree: decree, signature: Array(signature))
    }
}

private struct DriveText: Codable {
    let ballot: BallotText
    let decree: DecreeText?
    let recovered: [String]?
}

private struct RegisterText: Codable {
    /// The version of what the votes say; missing in former builds.
    let version: Int?
    let scope: ScopeText
    let uuid: String
    let name: String
    let role: String?
    let number: UInt64
    let promised: BallotText?
    let accepted: AcceptText?
    let drive: DriveText?
    let missesFounder: Bool?
    let hasLeft: Bool?
    let recovers: Bool?

    static let current = 2

    init(_ register: ElectionRegister) {
        version = register.isFormer ? nil : Self.current
        scope = ScopeText(register.scope)
        uuid = register.card.uuid
        name = register.card.name
        role = register.card.forcedRole?.rawValue
        number = register.number
        promised = register.promised.map(BallotText.init)
        accepted = register.accepted.map(AcceptText.init)
        drive = register.drive.map {
            DriveText(
                ballot: BallotText($0.ballot), decree: $0.decree.map(DecreeText.init),
                recovered: $0.recovered?.map(\.description))
        }
        missesFounder = register.missesFounder ? true : nil
        hasLeft = register.hasLeft ? true : nil
        recovers = register.recovers ? true : nil
    }

    var value: ElectionRegister? {
        guard let scope = scope.value, uuid.utf8.count <= Decree.longestUUID, name.utf8.count <= 512,
            WireCounter(number) != nil, number >= 1
        else { return nil }
        // A role of another name is none: who is newer than this agent still votes.
        let card = MemberCard(uuid: uuid, name: name, forcedRole: role.flatMap(ForcedRole.init))
        guard let version else {
            return ElectionRegister(
                scope: scope, card: card, number: number, hasLeft: hasLeft ?? false, isFormer: true)
        }
        guard version == Self.current else { return nil }
        var register = ElectionRegister(
            scope: scope, card: card, number: number, missesFounder: missesFounder ?? false,
            hasLeft: hasLeft ?? false, recovers: recovers ?? false)
        if let promised {
            guard let ballot = promised.value else { return nil }
            register.promised = ballot
        }
        if let accepted {
            guard let accept = accepted.accept, accept.decree.number == number else { return nil }
            register.accepted = accept
        }
        if let drive {
            guard let ballot = drive.ballot.value else { return nil }
            var proposed: Decree?
            if let text = drive.decree {
                guard let decree = text.value, decree.number == number else { return nil }
                proposed = decree
            }
            var nodes: [PeerID]?
            if let recovered = drive.recovered {
                guard let named = peers(recovered, most: DecreeCertificate.mostAccepts) else { return nil }
                nodes = named
            }
            register.drive = .init(ballot: ballot, decree: proposed, recovered: nodes)
        }
        return register
    }
}

private struct LinkText: Codable {
    let number: UInt64
    let electorate: ElectorateText
    let ballot: BallotText
    let voters: [String]
    let digest: Data
    let signatures: [String: Data]

    init(_ link: CertificateLink) {
        number = link.number
        electorate = ElectorateText(link.electorate)
        ballot = BallotText(link.ballot)
        voters = link.voters.map(\.description)
        digest = Data(link.digest)
        signatures = Dictionary(uniqueKeysWithValues: link.votes.map { ($0.key.description, Data($0.value)) })
    }

    func value(in network: String) -> CertificateLink? {
        guard let electorate = electorate.value, let ballot = ballot.value,
            let voters = peers(voters, most: Voters.most), signatures.count <= DecreeCertificate.mostAccepts
        else { return nil }
        var votes: [PeerID: [UInt8]] = [:]
        for (text, signature) in signatures {
            guard let peer = try? PeerID(text) else { return nil }
            votes[peer] = Array(signature)
        }
        return CertificateLink(
            network: network, number: number, electorate: electorate, ballot: ballot, voters: voters,
            digest: Array(digest), votes: votes)
    }
}

private struct CertificateText: Codable {
    /// Of former builds, in place of the next two.
    let scope: ScopeText?
    let network: String?
    let electorate: ElectorateText?
    let ballot: BallotText
    let decree: DecreeText
    let signatures: [String: Data]
    let links: [LinkText]?

    init(_ certificate: DecreeCertificate) {
        if certificate.decree.formerQuorum != nil {
            scope = ScopeText(
                ElectionScope(network: certificate.network, quorum: certificate.electorate.needed))
            (network, electorate) = (nil, nil)
        } else {
            scope = nil
            network = certificate.network
            electorate = ElectorateText(certificate.electorate)
        }
        ballot = BallotText(certificate.ballot)
        decree = DecreeText(certificate.decree)
        signatures = Dictionary(
            uniqueKeysWithValues: certificate.accepts.map { ($0.acceptor.description, Data($0.signature)) })
        links = certificate.links.isEmpty ? nil : certificate.links.map(LinkText.init)
    }

    var value: DecreeCertificate? {
        guard let ballot = ballot.value, let decree = decree.value,
            signatures.count <= DecreeCertificate.mostAccepts, (links?.count ?? 0) <= CertificateLink.most
        else { return nil }
        let (network, electorate): (String, Electorate)
        if decree.formerQuorum != nil {
            guard let scope = scope?.value else { return nil }
            (network, electorate) = (scope.network, .members(quorum: scope.quorum))
        } else {
            guard let named = self.network, let value = self.electorate?.value else { return nil }
            (network, electorate) = (named, value)
        }
        // Each signature is checked once it is known that the shape is right: these are the cheap refusals.
        guard signatures.count >= electorate.needed else { return nil }
        var accepts: [SignedAccept] = []
        for (acceptor, signature) in signatures {
            guard let peer = try? PeerID(acceptor), electorate.includes(peer) else { return nil }
            accepts.append(
                SignedAccept(acceptor: peer, ballot: ballot, decree: decree, signature: Array(signature)))
        }
        let ways = links?.compactMap { $0.value(in: network) } ?? []
        guard ways.count == links?.count ?? 0 else { return nil }
        return DecreeCertificate(
            network: network, electorate: electorate, ballot: ballot, decree: decree, accepts: accepts,
            links: ways)
    }
}

private struct StateText: Codable {
    let version: Int
    let scope: ScopeText
    let owner: String
    let promised: BallotText?
    let accepted: AcceptText?
    let highestDrivenRound: UInt64
    let certificate: CertificateText?
    let hasLeft: Bool?
    let recovers: Bool?

    init(_ state: ElectionState) {
        version = 2
        scope = ScopeText(state.scope)
        owner = state.owner.description
        promised = state.promised.map(BallotText.init)
        accepted = state.accepted.map(AcceptText.init)
        highestDrivenRound = state.highestDrivenRound
        certificate = state.certificate.map(CertificateText.init)
        hasLeft = state.hasLeft ? true : nil
        recovers = state.recovers ? true : nil
    }

    var value: ElectionState? {
        guard (1...2).contains(version), let scope = scope.value, let owner = try? PeerID(owner),
            WireCounter(highestDrivenRound) != nil
        else { return nil }
        var decided: DecreeCertificate?
        if let certificate {
            guard let value = certificate.value else { return nil }
            decided = value
        }
        var state = ElectionState(
            scope: scope, owner: owner, highestDrivenRound: highestDrivenRound, certificate: decided,
            hasLeft: hasLeft ?? false, recovers: recovers ?? false)
        // What a former build has voted was about other statements, which nobody asks for any more.
        guard version > 1 else { return state }
        if let promised {
            guard let ballot = promised.value else { return nil }
            state.promised = ballot
        }
        if let accepted {
            guard let accept = accepted.accept else { return nil }
            state.accepted = accept
        }
        if let accepted = state.accepted, accepted.decree.number != state.number { return nil }
        return state
    }
}
