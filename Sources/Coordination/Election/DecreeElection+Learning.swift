internal import LibP2P
internal import Timing

// What the registers and certificates of others, and this node's own as the network remembers it, teach.
extension DecreeElection {
    mutating func learn(_ register: ElectionRegister, of peer: PeerID, at now: Instant) {
        guard register.scope.network == configuration.scope.network else { return }
        if peer == localPeer {
            recoverOwnPromises(from: register)
            // Somebody with this node's key says otherwise. Now and then only: a clone of this node would do the same.
            if register != lastPublished, now >= restateAfter {
                lastPublished = nil
                restateAfter = now + configuration.timing.restate
            }
            return
        }
        guard registers[peer] != nil || registers.count < Self.mostMembers else { return }
        registers[peer] = register
    }

    /// The network remembers more than this node's disk: the disk lost what was synced. The promises
    /// made are kept all the same, those of a later number until the decisions before it are known.
    mutating func recoverOwnPromises(from register: ElectionRegister) {
        if register.number > state.number {
            if register.number >= remembered?.number ?? 0 { remembered = register }
            return
        }
        guard register.number == state.number else { return }
        if let promised = register.promised, promised > (state.promised ?? Self.below(promised)) {
            state.promised = promised
        }
        if let accepted = register.accepted, accepted.acceptor == localPeer,
            accepted.decree.number == state.number, accepted.isValid(in: scope)
        {
            if let own = state.accepted, own.ballot >= accepted.ballot {
                // Nothing newer.
            } else {
                state.accepted = accepted
            }
        }
        if let drive = register.drive, drive.ballot.round > state.highestDrivenRound {
            state.highestDrivenRound = drive.ballot.round
        }
    }

    static func below(_ ballot: Ballot) -> Ballot {
        Ballot(round: 0, proposer: ballot.proposer)
    }

    mutating func learn(_ certificate: DecreeCertificate, holder: PeerID, at now: Instant) {
        guard certificate.scope.network == configuration.scope.network else { return }
        let decree = certificate.decree
        guard let known = state.certificate?.decree else {
            // A network that asks for the word of two does not take that of one.
            guard certificate.scope.quorum >= min(2, configuration.scope.quorum) else { return }
            decide(certificate, at: now)
            holders.insert(holder)
            return
        }
        if decree == known {
            if holders.count < Self.mostMembers { holders.insert(holder) }
            rivals[holder] = nil
        } else if decree.descends(from: known) {
            guard certificate.scope.quorum >= min(2, known.quorum) else { return }
            decide(certificate, at: now)
            holders.insert(holder)
            rivals[holder] = nil
        } else if decree.number >= known.number
            || decree.epoch == known.epoch && decree.founder != known.founder,
            holder != localPeer, rivals.count < Self.mostMembers
        {
            rivals[holder] = decree
        } else {
            // An older decree of the same line: its holder has yet to hear of the newer one.
            rivals[holder] = nil
        }
    }

    mutating func updatePresence(_ peers: Set<PeerID>, at now: Instant) {
        guard peers != present else { return }
        present = peers
        presenceChanged = now
    }

    mutating func completeWrite(_ number: UInt64) {
        guard let writing, writing.number == number else { return }
        durable = writing.state
        self.writing = nil
        writeFailure = nil
    }
}
