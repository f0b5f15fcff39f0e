internal import LibP2P
internal import Multiformats
internal import Timing

/// Which peers have been heard of and when to tell of them again.
///
/// What comes without a proof can be spoofed by anyone on the link, so nothing is kept for a peer but a few
/// addresses, the number of peers is bounded, who is pushed out is drawn by lot, and what is reported is
/// shared by those who say it: a peer that loses its place is merely reported once more when it is next
/// heard. What has a proof is kept and reported apart from that, and outdoes it.
struct Browser: Sendable {
    private struct Known {
        var addresses: [Multiaddr]
        /// Under which name it was announced, or with which proof.
        var mark: Mark
        var expires: Instant
        var reported: Instant
    }

    private enum Mark: Hashable {
        case instance(DNSName)
        case proof([UInt8])
    }

    /// The most peers remembered of those with a proof, and of those without.
    static let maximumPeers = 1024
    /// The most addresses taken from one record, and the most peers it may name.
    static let maximumAddresses = 32
    /// A peer still heard is reported again after this time: an earlier dial may have failed.
    static let reportInterval = Duration.seconds(60)
    /// A peer whose addresses keep changing is not reported more often than this.
    static let shortestReportInterval = Duration.seconds(2)
    /// The longest that a record is believed, whatever it says: the Go nodes' own figure is 3200 s.
    static let longestLife: UInt32 = 3600
    /// A proof that was accepted is not looked at again within this time.
    static let proofInterval = Duration.milliseconds(500)

    private let service: DNSName
    private let localPeer: PeerID
    /// Where this node itself is. Its ID elsewhere is somebody with a copy of its key, or a lie.
    var ownAddresses: [Multiaddr] = []
    private var proven: [PeerID: Known] = [:]
    private var unproven: [PeerID: Known] = [:]
    /// The proofs accepted lately.
    private var accepted: [[UInt8]: Instant] = [:]
    private var provenReports: TokenBucket
    private var unprovenReports: SourceShares

    init(service: DNSName, localPeer: PeerID, at now: Instant) {
        self.service = service
        self.localPeer = localPeer
        // Nobody but members can use this up, and they are reported at most once in two seconds.
        self.provenReports = TokenBucket(
            capacity: Self.maximumPeers, refillPerSecond: Double(Self.maximumPeers) / 2, at: now)
        self.unprovenReports = SourceShares(
            share: .init(burst: 8, perSecond: 0.1), total: .init(burst: 128, perSecond: 8), at: now)
    }

    /// How many peers are remembered.
    var count: Int { proven.count + unproven.count }

    /// Learns from the records of one message without a proof; returns the peers to report.
    mutating func learn(
        from records: [DNSRecord], by source: IPAddress, at now: Instant, generator: inout SeededGenerator
    ) -> [(PeerID, [Multiaddr])] {
        // Of several TXT records of an instance the last one counts (contract/wire.md G.6).
        var latest: [DNSName: DNSRecord] = [:]
        for record in records where record.recordClass == DNSRecord.internetClass {
            guard case .txt = record.data, record.name.isChild(of: service) else { continue }
            latest[record.name] = record
        }
        // Anyone can say goodbye for another. What has a proof is forgotten when its life is over.
        let gone = Set(latest.values.filter { $0.timeToLive == 0 }.map { Mark.instance($0.name) })
        if !gone.isEmpty { unproven = unproven.filter { !gone.contains($0.value.mark) } }
        var news: [(PeerID, [Multiaddr])] = []
        for record in records where record.timeToLive > 0 {
            guard case .txt(let strings) = record.data, latest[record.name] == record else { continue }
            latest[record.name] = nil
            for (peer, addresses) in named(in: strings) {
                if let better = proven[peer], better.expires > now { continue }
                let known = Known(
                    addresses: addresses, mark: .instance(record.name),
                    expires: now + Self.life(record.timeToLive), reported: now)
                if note(known, of: peer, by: source, at: now, generator: &generator) {
                    news.append((peer, addresses))
                }
            }
        }
        return news
    }

    /// Whether `text` is a proof that was accepted a moment ago.
    func hasAccepted(_ text: [UInt8], at now: Instant) -> Bool {
        accepted[text].map { now - $0 < Self.proofInterval } ?? false
    }

    /// Learns from the strings that the proof `text` goes with; returns the peers to report.
    mutating func learn(
        from strings: [[UInt8]], provenBy text: [UInt8], timeToLive: UInt32, at now: Instant,
        generator: inout SeededGenerator
    ) -> [(PeerID, [Multiaddr])] {
        if accepted.count >= Self.maximumPeers {
            accepted = accepted.filter { now - $0.value < Self.proofInterval }
        }
        if accepted.count < Self.maximumPeers { accepted[text] = now }
        var news: [(PeerID, [Multiaddr])] = []
        for (peer, addresses) in named(in: strings) {
            unproven[peer] = nil
            let known = Known(
                addresses: addresses, mark: .proof(text), expires: now + Self.life(timeToLive), reported: now)
            if noteProven(known, of: peer, at: now, generator: &generator) {
                news.append((peer, proven[peer]?.addresses ?? addresses))
            }
        }
        return news
    }

    private static func life(_ timeToLive: UInt32) -> Duration {
        .seconds(Int64(min(timeToLive, longestLife)))
    }

    /// Forgets what has not been heard for its record's life.
    mutating func expire(at now: Instant) {
        proven = proven.filter { $0.value.expires > now }
        unproven = unproven.filter { $0.value.expires > now }
    }

    /// The addresses by peer that TXT strings name, in order, ourselves left out where we are.
    private func named(in strings: [[UInt8]]) -> [(PeerID, [Multiaddr])] {
        var order: [PeerID] = []
        var addresses: [PeerID: [Multiaddr]] = [:]
        for string in strings.prefix(Self.maximumAddresses) {
            guard let (peer, address) = AdvertisedAddress.decode(string),
                peer != localPeer || !ownAddresses.isEmpty && !ownAddresses.contains(address)
            else { continue }
            if addresses[peer] == nil { order.append(peer) }
            addresses[peer, default: []].append(address)
        }
        return order.map { ($0, addresses[$0, default: []]) }
    }

    /// Whether a peer of which `previous` is remembered is to be reported with what is said of it now.
    private static func isDue(_ known: Known, after previous: Known, isNew: Bool) -> Bool {
        let since = known.reported - previous.reported
        return since >= reportInterval || (isNew && since >= shortestReportInterval)
    }

    /// Remembers what was said of `peer` without a proof; says whether it is to be reported.
    private mutating func note(
        _ known: Known, of peer: PeerID, by source: IPAddress, at now: Instant,
        generator: inout SeededGenerator
    ) -> Bool {
        var known = known
        if let previous = unproven[peer], previous.expires > now {
            let isNew = !known.addresses.allSatisfy(previous.addresses.contains)
            guard Self.isDue(known, after: previous, isNew: isNew),
                unprovenReports.take(for: source, at: now, generator: &generator)
            else {
                // What was not reported must still look new the next time.
                known.addresses = previous.addresses
                known.reported = previous.reported
                unproven[peer] = known
                return false
            }
        } else {
            guard unprovenReports.take(for: source, at: now, generator: &generator) else { return false }
            Self.makeRoom(in: &unproven, at: now, generator: &generator)
        }
        unproven[peer] = known
        return true
    }

    /// Remembers what was said of `peer` with a proof; says whether it is to be reported.
    private mutating func noteProven(
        _ known: Known, of peer: PeerID, at now: Instant, generator: inout SeededGenerator
    ) -> Bool {
        var known = known
        if let previous = proven[peer], previous.expires > now {
            // A recorded announcement must not hide where the node is now, nor this one where it was a moment ago.
            known.addresses += previous.addresses.filter { !known.addresses.contains($0) }
            known.addresses = Array(known.addresses.prefix(Self.maximumAddresses))
            // Another proof is another run of the node.
            guard Self.isDue(known, after: previous, isNew: known.mark != previous.mark),
                provenReports.take(at: now)
            else {
                known.addresses = previous.addresses
                known.mark = previous.mark
                known.reported = previous.reported
                proven[peer] = known
                return false
            }
        } else {
            guard provenReports.take(at: now) else { return false }
            Self.makeRoom(in: &proven, at: now, generator: &generator)
        }
        proven[peer] = known
        return true
    }

    private static func makeRoom(
        in peers: inout [PeerID: Known], at now: Instant, generator: inout SeededGenerator
    ) {
        guard peers.count >= maximumPeers else { return }
        peers = peers.filter { $0.value.expires > now }
        if peers.count >= maximumPeers, let victim = peers.keys.sorted().randomElement(using: &generator) {
            peers[victim] = nil
        }
    }
}
