import Testing
import Timing

@Suite("Token bucket")
struct TokenBucketTests {
    @Test("a bucket gives its capacity at once, then what time refills")
    func capacityThenRefill() {
        var bucket = TokenBucket(capacity: 3, refillPerSecond: 2, at: .zero)
        let asked: [(amount: Int, milliseconds: Int)] = [
            (1, 0), (1, 0), (1, 0), (1, 0), (2, 500), (1, 500), (1, 900), (1, 1000),
        ]
        let given = asked.map { bucket.take($0.amount, at: .zero + .milliseconds($0.milliseconds)) }
        #expect(given == [true, true, true, false, false, true, false, true])
    }

    @Test("a bucket never holds more than its capacity and time that runs back refills nothing")
    func bounds() {
        var bucket = TokenBucket(capacity: 2, refillPerSecond: 10, at: .zero + .seconds(100))
        let first = bucket.takeUpTo(5, at: .zero + .seconds(1000))
        let past = bucket.takeUpTo(5, at: .zero)
        let tooMuch = bucket.take(.max, at: .zero + .seconds(5000))
        let negative = bucket.take(-5, at: .zero + .seconds(5000))
        let rest = bucket.takeUpTo(5, at: .zero + .seconds(5000))
        #expect([first, past, rest] == [2, 0, 2])
        #expect(!tooMuch && negative)
    }
}
