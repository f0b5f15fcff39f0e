package import LibP2P

/// One run of `/kairos/admission/1.0.0` on one stream: the opener sends a version byte and its proof,
/// the responder checks it and answers with its own. A responder says nothing to who proves nothing.
///
/// ```
///   opener                                   responder
///     01 ‖ proof(opener)   ───────────────►  checks
///     checks               ◄───────────────  01 ‖ proof(responder)
/// ```
package struct AdmissionExchange: Sendable {
    /// What the run wants done.
    package enum Effect: Hashable, Sendable {
        case send([UInt8])
        /// The other end knows the token.
        case admit
        /// It does not, or does not speak the protocol: the stream is to be reset.
        case refuse(Refusal)
    }

    package enum Refusal: Hashable, Sendable {
        case unknownVersion(UInt8)
        case wrongProof
        case surplusBytes
        case ended
    }

    /// The version byte of this protocol.
    package static let version: UInt8 = 1

    private let prover: AdmissionProof
    private let role: AdmissionProof.Role
    private let opener: PeerID
    private let responder: PeerID
    private let channelBinding: [UInt8]
    private var received: [UInt8] = []
    private var isDone = false

    /// Makes one end's run with `remote` over the channel that `channelBinding` names.
    package init(
        prover: AdmissionProof, role: AdmissionProof.Role, local: PeerID, remote: PeerID,
        channelBinding: [UInt8]
    ) {
        self.prover = prover
        self.role = role
        self.opener = role == .opener ? local : remote
        self.responder = role == .opener ? remote : local
        self.channelBinding = channelBinding
    }

    /// What is to be done when the stream is open.
    package mutating func start() -> [Effect] {
        role == .opener ? [.send(message(of: .opener))] : []
    }

    /// Takes bytes of the stream.
    package mutating func receive(_ bytes: some Sequence<UInt8>) -> [Effect] {
        guard !isDone else { return [] }
        for byte in bytes {
            guard received.count < 1 + AdmissionProof.length else { return refuse(.surplusBytes) }
            received.append(byte)
        }
        if let version = received.first, version != Self.version { return refuse(.unknownVersion(version)) }
        guard received.count == 1 + AdmissionProof.length else { return [] }
        let other: AdmissionProof.Role = role == .opener ? .responder : .opener
        guard
            prover.accepts(
                Array(received.dropFirst()), of: other, opener: opener, responder: responder,
                channelBinding: channelBinding)
        else { return refuse(.wrongProof) }
        isDone = true
        return role == .responder ? [.send(message(of: .responder)), .admit] : [.admit]
    }

    /// The stream has ended.
    package mutating func end() -> [Effect] {
        isDone ? [] : refuse(.ended)
    }

    private mutating func refuse(_ reason: Refusal) -> [Effect] {
        isDone = true
        return [.refuse(reason)]
    }

    private func message(of role: AdmissionProof.Role) -> [UInt8] {
        [Self.version]
            + prover.proof(of: role, opener: opener, responder: responder, channelBinding: channelBinding)
    }
}
