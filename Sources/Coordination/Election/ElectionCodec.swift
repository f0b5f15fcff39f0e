internal import LibP2P

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

private struct BallotText: Codable {
    let round: UInt64
    let proposer: String

    init(_ ballot: Ballot) {
        round = ballot.round
        proposer = ballot.proposer.description
    }

    var value: Ballot? {
        guard let peer = try? PeerID(proposer) else { return nil }
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
    let quorum: Int

    init(_ decree: Decree) {
        number = decree.number
        epoch = decree.epoch
        founder = ServerText(decree.founder)
        running = decree.isRunning
        servers = decree.servers.map(ServerText.init)
        forgotten = decree.forgotten.map(\.description)
        quorum = decree.quorum
    }

    var value: Decree? {
        guard servers.count <= Decree.mostServers, forgotten.count <= Decree.mostForgotten,
            let founder = founder.value
        else { return nil }
        let elected = servers.compactMap(\.value)
        let gone = forgotten.compactMap { try? PeerID($0) }
        guard elected.count == servers.count, gone.count == forgotten.count else { return nil }
        let decree = Decree(
            number: number, epoch: epoch, founder: founder, isRunning: running, servers: elected,
            forgotten: gone, quorum: quorum)
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
}

private struct RegisterText: Codable {
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

    init(_ register: ElectionRegister) {
        scope = ScopeText(register.scope)
        uuid = register.card.uuid
        name = register.card.name
        role = register.card.forcedRole?.rawValue
        number = register.number
        promised = register.promised.map(BallotText.init)
        accepted = register.accepted.map(AcceptText.init)
        drive = register.drive.map {
            DriveText(ballot: BallotText($0.ballot), decree: $0.decree.map(DecreeText.init))
        }
        missesFounder = register.missesFounder ? true : nil
        hasLeft = register.hasLeft ? true : nil
    }

    var value: ElectionRegister? {
        guard let scope = scope.value, number >= 1, uuid.utf8.count <= Decree.longestUUID,
            name.utf8.count <= 512
        else { return nil }
        // A role that this version does not know is no reason to lose the vote behind it.
        let card = MemberCard(uuid: uuid, name: name, forcedRole: role.flatMap(ForcedRole.init))
        var register = ElectionRegister(scope: scope, card: card, number: number)
        register.missesFounder = missesFounder ?? false
        register.hasLeft = hasLeft ?? false
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
            register.drive = .init(ballot: ballot, decree: proposed)
        }
        return register
    }
}

private struct CertificateText: Codable {
    let scope: ScopeText
    let ballot: BallotText
    let decree: DecreeText
    let signatures: [String: Data]

    init(_ certificate: DecreeCertificate) {
        scope = ScopeText(certificate.scope)
        ballot = BallotText(certificate.ballot)
        decree = DecreeText(certificate.decree)
        signatures = Dictionary(
            uniqueKeysWithValues: certificate.accepts.map { ($0.acceptor.description, Data($0.signature)) })
    }

    var value: DecreeCertificate? {
        guard let scope = scope.value, let ballot = ballot.value, let decree = decree.value,
            signatures.count <= DecreeCertificate.mostAccepts
        else { return nil }
        var accepts: [SignedAccept] = []
        for (acceptor, signature) in signatures {
            guard let peer = try? PeerID(acceptor) else { return nil }
            accepts.append(
                SignedAccept(acceptor: peer, ballot: ballot, decree: decree, signature: Array(signature)))
        }
        return DecreeCertificate(scope: scope, ballot: ballot, decree: decree, accepts: accepts)
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

    init(_ state: ElectionState) {
        version = 1
        scope = ScopeText(state.scope)
        owner = state.owner.description
        promised = state.promised.map(BallotText.init)
        accepted = state.accepted.map(AcceptText.init)
        highestDrivenRound = state.highestDrivenRound
        certificate = state.certificate.map(CertificateText.init)
        hasLeft = state.hasLeft ? true : nil
    }

    var value: ElectionState? {
        guard version == 1, let scope = scope.value, let owner = try? PeerID(owner) else { return nil }
        var decided: DecreeCertificate?
        if let certificate {
            guard let value = certificate.value else { return nil }
            decided = value
        }
        var state = ElectionState(
            scope: scope, owner: owner, highestDrivenRound: highestDrivenRound, certificate: decided,
            hasLeft: hasLeft ?? false)
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
