internal import LibP2P
internal import Multiformats
internal import Timing

/// Which peers have been heard of and when to tell of them again.
///
/// Everything here can be spoofed by anyone on the link, so nothing is kept for a peer but a few
/// addresses, the number of peers is bounded, and who is pushed out is drawn by lot: a peer that
/// loses its place is merely reported once more when it is next heard.
struct Browser: Sendable {
    private struct Known {
        var addresses: [Multiaddr]
        var instance: DNSName
        var expires: Instant
        var reported: Instant
    }

    /// The most peers remembered.
    static let maximumPeers = 1024
    /// The most addresses taken from one record, and the most peers it may name.
    static let maximumAddresses = 32
    /// A peer still heard is reported again after this time: an earlier dial may have failed.
    static let reportInterval = Duration.seconds(60)
    /// A peer whose addresses keep changing is not reported more often than this.
    static let shortestReportInterval = Duration.seconds(2)
    /// The longest that a record is believed, whatever it says: the Go nodes' own figure is 3200 s.
    static let longestLife: UInt32 = 3600

    private let service: DNSName
    private let localPeer: PeerID
    /// Where this node itself is. Its ID elsewhere is somebody with a copy of its key, or a lie.
    var ownAddresses: [Multiaddr] = []
    private var peers: [PeerID: Known] = [:]
    private var reports: TokenBucket

    init(service: DNSName, localPeer: PeerID, at now: Instant) {
        self.service = service
        self.localPeer = localPeer
        self.reports = TokenBucket(capacity: 128, refillPerSecond: 16, at: now)
    }

    /// How many peers are remembered.
    var count: Int { peers.count }

    /// Learns from the records of one message; returns the peers to report.
    mutating func learn(
        from records: [DNSRecord], at now: Instant, generator: inout SeededGenerator
    ) -> [(PeerID, [Multiaddr])] {
        // Of several TXT records of an instance the last one counts (contract/wire.md G.6).
        var latest: [DNSName: DNSRecord] = [:]
        for record in records where record.recordClass == DNSRecord.internetClass {
            guard case .txt = record.data, record.name.isChild(of: service) else { continue }
            latest[record.name] = record
        }
        let gone = Set(latest.values.filter { $0.timeToLive == 0 }.map(\.name))
        if !gone.isEmpty { peers = peers.filter { !gone.contains($0.value.instance) } }
        var news: [(PeerID, [Multiaddr])] = []
        for record in records where record.timeToLive > 0 {
            guard case .txt(let strings) = record.data, latest[record.name] == record else { continue }
            latest[record.name] = nil
            let life = Duration.seconds(Int64(min(record.timeToLive, Self.longestLife)))
            for (peer, addresses) in named(in: strings) {
                let known = Known(
                    addresses: addresses, instance: record.name, expires: now + life, reported: now)
                if note(known, of: peer, at: now, generator: &generator) { news.append((peer, addresses)) }
            }
        }
        return news
    }

    /// Forgets what has not been heard for its record's life.
    mutating func expire(at now: Instant) {
        peers = peers.filter { $0.value.expires > now }
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

    /// Remembers `known`; says whether it is to be reported.
    private mutating func note(
        _ known: Known, of peer: PeerID, at now: Instant, generator: inout SeededGenerator
    ) -> Bool {
        var known = known
        if let previous = peers[peer], previous.expires > now {
            let since = now - previous.reported
            let isNew = !known.addresses.allSatisfy(previous.addresses.contains)
            let isDue = since >= Self.reportInterval || (isNew && since >= Self.shortestReportInterval)
            guard isDue, reports.take(at: now) else {
                // What was not reported must still look new the next time.
                known.addresses = previous.addresses
                known.reported = previous.reported
                peers[peer] = known
                return false
            }
        } else {
            guard reports.take(at: now) else { return false }
            if peers.count >= Self.maximumPeers { makeRoom(at: now, generator: &generator) }
        }
        peers[peer] = known
        return true
    }

    private mutating func makeRoom(at now: Instant, generator: inout SeededGenerator) {
        expire(at: now)
        if peers.count >= Self.maximumPeers, let victim = peers.keys.sorted().randomElement(using: &generator)
        {
            peers[victim] = nil
        }
    }
}
