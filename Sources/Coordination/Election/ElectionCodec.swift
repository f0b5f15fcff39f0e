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
    package static func encode(_ certificate: FoundingCertificate) -> String {
        json(CertificateText(certificate))
    }

    /// `state` as the content of its file.
    package static func encode(_ state: ElectionState) -> String { json(StateText(state)) }

    /// The register that `text` spells; nil when it is anything else.
    package static func register(from text: String) -> ElectionRegister? {
        parse(RegisterText.self, text)?.value
    }

    /// The certificate that `text` spells, checked; nil when it is anything else or proves nothing.
    package static func certificate(from text: String) -> FoundingCertificate? {
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
    let epoch: UInt64
    let quorum: Int

    init(_ scope: ElectionScope) {
        network = scope.network
        epoch = scope.epoch
        quorum = scope.quorum
    }

    var value: ElectionScope? {
        guard quorum >= 1, quorum <= FoundingCertificate.mostAccepts else { return nil }
        return ElectionScope(network: network, epoch: epoch, quorum: quorum)
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

private struct ValueText: Codable {
    let founder: String
    let uuid: String

    init(_ value: FoundingValue) {
        founder = value.founder.description
        uuid = value.uuid
    }

    var value: FoundingValue? {
        guard let peer = try? PeerID(founder) else { return nil }
        return FoundingValue(founder: peer, uuid: uuid)
    }
}

private struct AcceptText: Codable {
    let acceptor: String
    let ballot: BallotText
    let value: ValueText
    let signature: Data

    init(_ accept: SignedAccept) {
        acceptor = accept.acceptor.description
        ballot = BallotText(accept.ballot)
        value = ValueText(accept.value)
        signature = Data(accept.signature)
    }

    var accept: SignedAccept? {
        guard let peer = try? PeerID(acceptor), let ballot = ballot.value, let value = value.value else {
            return nil
        }
        return SignedAccept(acceptor: peer, ballot: ballot, value: value, signature: Array(signature))
    }
}

private struct DriveText: Codable {
    let ballot: BallotText
    let value: ValueText?
}

private struct RegisterText: Codable {
    let scope: ScopeText
    let uuid: String
    let name: String
    let role: String?
    let promised: BallotText?
    let accepted: AcceptText?
    let drive: DriveText?

    init(_ register: ElectionRegister) {
        scope = ScopeText(register.scope)
        uuid = register.card.uuid
        name = register.card.name
        role = register.card.forcedRole?.rawValue
        promised = register.promised.map(BallotText.init)
        accepted = register.accepted.map(AcceptText.init)
        drive = register.drive.map {
            DriveText(ballot: BallotText($0.ballot), value: $0.value.map(ValueText.init))
        }
    }

    var value: ElectionRegister? {
        guard let scope = scope.value, uuid.utf8.count <= 512, name.utf8.count <= 512 else { return nil }
        // A role that this version does not know is no reason to lose the vote behind it.
        let card = MemberCard(uuid: uuid, name: name, forcedRole: role.flatMap(ForcedRole.init))
        var register = ElectionRegister(scope: scope, card: card)
        if let promised {
            guard let ballot = promised.value else { return nil }
            register.promised = ballot
        }
        if let accepted {
            guard let accept = accepted.accept else { return nil }
            register.accepted = accept
        }
        if let drive {
            guard let ballot = drive.ballot.value else { return nil }
            var proposed: FoundingValue?
            if let text = drive.value {
                guard let value = text.value else { return nil }
                proposed = value
            }
            register.drive = .init(ballot: ballot, value: proposed)
        }
        return register
    }
}

private struct CertificateText: Codable {
    let scope: ScopeText
    let ballot: BallotText
    let founding: ValueText
    let signatures: [String: Data]

    enum CodingKeys: String, CodingKey {
        case scope, ballot, signatures
        case founding = "value"
    }

    init(_ certificate: FoundingCertificate) {
        scope = ScopeText(certificate.scope)
        ballot = BallotText(certificate.ballot)
        founding = ValueText(certificate.value)
        signatures = Dictionary(
            uniqueKeysWithValues: certificate.accepts.map { ($0.acceptor.description, Data($0.signature)) })
    }

    var value: FoundingCertificate? {
        guard let scope = scope.value, let ballot = ballot.value, let value = founding.value,
            signatures.count <= FoundingCertificate.mostAccepts
        else { return nil }
        var accepts: [SignedAccept] = []
        for (acceptor, signature) in signatures {
            guard let peer = try? PeerID(acceptor) else { return nil }
            accepts.append(
                SignedAccept(acceptor: peer, ballot: ballot, value: value, signature: Array(signature)))
        }
        return FoundingCertificate(scope: scope, ballot: ballot, value: value, accepts: accepts)
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

    init(_ state: ElectionState) {
        version = 1
        scope = ScopeText(state.scope)
        owner = state.owner.description
        promised = state.promised.map(BallotText.init)
        accepted = state.accepted.map(AcceptText.init)
        highestDrivenRound = state.highestDrivenRound
        certificate = state.certificate.map(CertificateText.init)
    }

    var value: ElectionState? {
        guard version == 1, let scope = scope.value, let owner = try? PeerID(owner) else { return nil }
        var state = ElectionState(scope: scope, owner: owner, highestDrivenRound: highestDrivenRound)
        if let promised {
            guard let ballot = promised.value else { return nil }
            state.promised = ballot
        }
        if let accepted {
            guard let accept = accepted.accept else { return nil }
            state.accepted = accept
        }
        if let certificate {
            guard let value = certificate.value else { return nil }
            state.certificate = value
        }
        return state
    }
}
