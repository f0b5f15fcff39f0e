internal import NIOCore

/// One connection as the swarm's loop sees it.
final class SwarmConnection {
    private let established: EstablishedConnection
    /// How many identify messages the peer may still have heeded; more are pointless.
    var identifyBudget = GlitchBudget(capacity: 16, perSecond: 1)
    /// How often identify has failed on it.
    var identifyFailures = 0

    /// What the muxer and the socket know of the peer's standing.
    private var applied = PeerStanding.unproven
    private var isApplied = false

    init(_ established: EstablishedConnection) {
        self.established = established
    }

    var peer: PeerID { established.peer }
    var info: ConnectionInfo { established.info }
    /// The socket's channel.
    var channel: any Channel { established.channel }
    var muxer: YamuxMuxer { established.muxer }
    /// What the connection holds of the process' memory, and its peer's standing.
    var memory: ConnectionMemory { established.memory }

    /// Lets the peer hold what its standing allows.
    func setStanding(_ standing: PeerStanding) {
        memory.setStanding(standing)
        let isWide = memory.hasWideBuffers
        guard memory.standing != applied || isWide != isApplied else { return }
        (applied, isApplied) = (standing, isWide)
        muxer.standingChanged()
        TCPTransport.setBuffers(of: channel, areWide: isWide)
    }

    /// Lets the peer's streams go on.
    func accept() {
        established.taken.succeed()
    }

    /// Closes the connection that was never taken.
    func reject(_ reason: DisconnectReason) {
        established.reject(reason)
    }

    /// Closes the connection and tells the other end `reason`.
    func close(_ reason: DisconnectReason) {
        muxer.close(code: reason.goAwayCode)
        // The muxer closes the channel; should its handler be gone already, this does.
        channel.close(promise: nil)
    }
}

extension DisconnectReason {
    /// The code on the wire (contract/wire.md D.4).
    var goAwayCode: UInt32 {
        switch self {
        case .shutdown: GoAwayCode.shutdown
        case .protocolViolation: GoAwayCode.protocolViolation
        case .resourceLimit: GoAwayCode.resourceLimit
        case .rateLimited: GoAwayCode.rateLimited
        case .supplanted: GoAwayCode.supplanted
        case .gated: GoAwayCode.gated
        }
    }
}
