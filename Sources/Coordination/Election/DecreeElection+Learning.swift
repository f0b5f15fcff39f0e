internal import LibP2P
internal import Timing

// What the registers and certificates of others, and this node's own as the network remembers it, teach.
extension DecreeElection {
    mutating func learn(_ register: ElectionRegister, of peer: PeerID, at now: Instant) {
        guard register.scope.network == network else { return }
        if peer == localPeer {
            recoverOwnPromises(from: register)
            // Somebody with this node's key says otherwise. Now and then only: a clone of this node would do the same.
            if register != lastPublished, now >= restateAfter {
                lastPublished = nil
                restateAfter = now + configuration.timing.restate
            }
            return
        }
        if registers[peer] == nil, registers.count >= Self.mostMembers {
            // Keys that nobody has met cost nothing to make: they give way to members.
            guard met.contains(peer), let stranger = registers.keys.first(where: { !met.contains($0) }) else {
                return
            }
            registers[stranger] = nil
        }
        registers[peer] = register
    }

    /// The network remembers more than this node's disk: the disk lost what was synced. The promises
    /// made are kept all the same, those of a later number until the decisions before it are known.
    mutating func recoverOwnPromises(from register: ElectionRegister) {
        guard !register.isFormer else { return }
        if register.number > state.number {
            if register.number >= remembered?.number ?? 0 { remembered = register }
            return
        }
        guard register.number == state.number else { return }
        if register.recovers { state.recovers = state.certificate != nil }
        if let promised = register.promised, promised > (state.promised ?? Self.below(promised)) {
            state.promised = promised
        }
        if let accepted = register.accepted, accepted.acceptor == localPeer,
            accepted.decree.number == state.number, isOwnWord(accepted)
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

    /// Only this node writes its register; among whom it has voted is not said in it.
    private func isOwnWord(_ accepted: SignedAccept) -> Bool {
        state.recovers || accepted.isValid(in: network, among: electorate)
    }

    static func below(_ ballot: Ballot) -> Ballot {
        Ballot(round: 0, proposer: ballot.proposer)
    }

    mutating func learn(_ certificate: DecreeCertificate, holder: PeerID, at now: Instant) {
        guard certificate.network == network else { return }
        let decree = certificate.decree
        guard let known = state.certificate?.decree else {
            if heard[holder] != nil || heard.count < Self.mostMembers { heard[holder] = certificate }
            return
        }
        if decree == known {
            if holders.count < Self.mostMembers { holders.insert(holder) }
            rivals[holder] = nil
        } else if decree.descends(from: known), isBelieved(certificate, from: known) {
            decide(certificate, at: now)
            holders.insert(holder)
            rivals[holder] = nil
        } else if decree.number >= known.number
            || decree.epoch == known.epoch && decree.founder != known.founder,
            holder != localPeer, met.contains(holder), rivals.count < Self.mostMembers
        {
            rivals[holder] = decree
        } else {
            // An older decree of the same line, whose holder has yet to hear of the newer one; or the word of a key
            // that nobody has met.
            rivals[holder] = nil
        }
    }

    /// Whether the voters that this node knows, or those whom they have named, have accepted it.
    private func isBelieved(_ certificate: DecreeCertificate, from known: Decree) -> Bool {
        WireCounter(certificate.decree.number)?.isWithin(Self.window, of: known.number) ?? false
            && certificate.isReached(
                from: known.voters, number: known.number, obeysRecovery: state.recovers)
    }

    /// A node that knows of no decree cannot tell real voters from made ones: it believes the members that are here,
    /// where they do not contradict each other, and its own signature.
    mutating func believeMembers(at now: Instant) {
        guard state.certificate == nil, !heard.isEmpty else { return }
        let certificates = believable
        guard let newest = certificates.max(by: { $0.decree.number < $1.decree.number }),
            certificates.allSatisfy({ Self.agree($0, newest) })
        else { return }
        decide(newest, at: now)
        for (holder, certificate) in heard where certificate.decree == newest.decree {
            holders.insert(holder)
        }
        heard = [:]
    }

    /// The certificates that count for a node that knows none.
    private var believable: [DecreeCertificate] {
        heard.filter { holder, certificate in
            present.contains(holder) || certificate.accepts.contains { $0.acceptor == localPeer }
        }.map(\.value)
    }

    private static func agree(_ one: DecreeCertificate, _ newest: DecreeCertificate) -> Bool {
        one.decree == newest.decree
            || newest.decree.number > one.decree.number && newest.decree.descends(from: one.decree)
    }

    /// The founders of the clusters that members hold certificates of while this node cannot tell which of them is
    /// right; empty where there is no contradiction.
    package var contradiction: [ElectedServer] {
        guard state.certificate == nil else { return [] }
        let certificates = believable
        guard let newest = certificates.max(by: { $0.decree.number < $1.decree.number }),
            !certificates.allSatisfy({ Self.agree($0, newest) })
        else { return [] }
        return Array(Set(certificates.map(\.decree.founder))).sorted { $0.peer < $1.peer }
    }

    /// Whether somebody that is here knows of a decree while this node knows none: whatever it is, the founding is
    /// decided.
    package var foundingIsOver: Bool {
        state.certificate == nil && present.contains { registers[$0].map { $0.number > 1 } ?? false }
    }

    mutating func updatePresence(_ peers: Set<PeerID>, at now: Instant) {
        guard peers != present else { return }
        present = peers
        presenceChanged = now
        presentSince = presentSince.filter { peers.contains($0.key) }
        for peer in peers where presentSince[peer] == nil { presentSince[peer] = now }
        if met.count < Self.mostMembers { met.formUnion(peers) }
    }

    mutating func completeWrite(_ number: UInt64) {
        guard let writing, writing.number == number else { return }
        durable = writing.state
        self.writing = nil
        writeFailure = nil
    }
}
