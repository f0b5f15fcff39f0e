internal import Multiformats
internal import Timing

/// An allowance that senders share by their address: none takes more than a share, and all together no more
/// than the total. While that is short, whoever was served a moment ago waits for those who were not, so that many
/// loud senders leave room for a quiet one. The addresses remembered are bounded; which gives way to a new one is drawn by lot, so
/// that a sender of many false addresses cannot choose.
///
/// A false address can be anybody's, so nothing here is held against an address for longer than its share
/// needs to refill.
struct SourceShares: Sendable {
    /// How much at once, and how much a second.
    struct Rate: Sendable {
        let burst: Int
        let perSecond: Double
    }

    /// The most addresses remembered.
    static let maximumSources = 256

    private struct Source {
        var share: TokenBucket
        var served: Instant?
    }

    private let share: Rate
    private let totalRate: Rate
    private var total: TokenBucket
    private var shares: [IPAddress: Source] = [:]
    /// The keys of `shares`, for drawing one.
    private var sources: [IPAddress] = []

    init(share: Rate, total: Rate, at now: Instant) {
        self.share = share
        self.totalRate = total
        self.total = TokenBucket(capacity: total.burst, refillPerSecond: total.perSecond, at: now)
    }

    /// How many addresses are remembered.
    var count: Int { shares.count }

    /// Takes one unit for `source` if its share and the total hold one; says whether they did.
    mutating func take(for source: IPAddress, at now: Instant, generator: inout SeededGenerator) -> Bool {
        if shares[source] == nil {
            if sources.count < Self.maximumSources {
                sources.append(source)
            } else {
                let place = Int.random(in: sources.indices, using: &generator)
                shares[sources[place]] = nil
                sources[place] = source
            }
            shares[source] = Source(
                share: TokenBucket(capacity: share.burst, refillPerSecond: share.perSecond, at: now))
        }
        guard shares[source]?.share.take(at: now) == true else { return false }
        if let served = shares[source]?.served, total.level(at: now) < totalRate.burst / 2,
            (now - served).inSeconds * totalRate.perSecond < Double(sources.count)
        {
            return false
        }
        guard total.take(at: now) else { return false }
        shares[source]?.served = now
        return true
    }
}
