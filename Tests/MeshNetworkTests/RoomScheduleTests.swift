import LibP2P
import MeshNetwork
import Multiformats
import TestSupport
import Testing
import Timing

@Suite("One-time passwords and the room's schedule")
struct RoomScheduleTests {
    static let cases: [OTPCase] = VectorFile.load("otp.json")

    @Test("the vectors are there") func vectors() {
        #expect(Self.cases.count == 118)
    }

    @Test("a password and the names made of it are EdgeVPN's", arguments: cases.filter { $0.kind == "totp" })
    func passwords(_ vector: OTPCase) throws {
        let password = OneTimePassword(
            key: SecretBytes(copying: Array((vector.key ?? "").utf8)),
            interval: try #require(vector.interval),
            length: try #require(vector.digits))
        let counter = password.counter(atSeconds: vector.unix)
        let text = counter.flatMap { password.text(counter: $0) }
        guard vector.panics == nil else {
            #expect(text == nil)
            return
        }
        #expect(counter == vector.counter)
        #expect(text == Array(try #require(vector.totp).utf8))
        #expect(Hex.encode(try Crypto.md5(text ?? [])) == vector.md5)
    }

    @Test(
        "a network's topic, key and rendezvous name are EdgeVPN's",
        arguments: cases.filter { $0.kind == "network" })
    func networks(_ vector: OTPCase) throws {
        let schedule = RoomSchedule(try NetworkToken(try #require(vector.token)))
        let time = UnixTime(seconds: vector.unix)
        let window = try schedule.windows(at: time).current
        #expect(window.topic == vector.topic)
        #expect(window.sealKey.withUnsafeBytes { Array($0) } == Array(try #require(vector.sealKey).utf8))
        #expect(try schedule.rendezvous(at: time).first == vector.rendezvous)
    }

    @Test("two clocks that differ by less than a period always share a topic and its key")
    func skew() throws {
        let schedule = RoomSchedule(try .generate(rotation: .every(seconds: 15)))
        for second in 0..<60 {
            let time = UnixTime(seconds: 1_767_225_600 + Int64(second))
            let mine = try schedule.windows(at: time)
            for skew in [-15, -14, -1, 0, 1, 14, 15] as [Int64] {
                let theirs = try schedule.windows(at: UnixTime(seconds: time.seconds + skew))
                #expect(mine.all.contains(theirs.current))
                let keys = mine.keys(forTopic: theirs.current.topic)
                #expect(keys.count == 3 && keys.first == theirs.current.sealKey)
            }
        }
    }

    @Test("the next rotation is the start of the next period")
    func rotation() throws {
        let schedule = RoomSchedule(try .generate(rotation: .every(seconds: 15)))
        let time = UnixTime(seconds: 1_767_225_600) + .milliseconds(14_999)
        let next = try #require(schedule.nextRotation(after: time))
        #expect(next == UnixTime(seconds: 1_767_225_615))
        let before = try schedule.windows(at: next + .nanoseconds(-1))
        let after = try schedule.windows(at: next)
        #expect(before.neighbours.last == after.current)
        #expect(after.neighbours.first == before.current)
    }

    @Test("a network that never rotates has one window for ever")
    func never() throws {
        let schedule = RoomSchedule(try .generate())
        for time in [UnixTime(seconds: -5), UnixTime(seconds: 0), UnixTime(nanoseconds: .max)] {
            #expect(schedule.nextRotation(after: time) == nil)
            let windows = try schedule.windows(at: time)
            #expect(windows.current.counter == 0 && windows.neighbours.isEmpty)
        }
        // Long intervals that still fit the calendar have a next rotation, longer ones have none.
        let century = RoomSchedule(try .generate(rotation: .every(seconds: 3_000_000_000)))
        #expect(century.nextRotation(after: UnixTime(seconds: 1)) == UnixTime(seconds: 3_000_000_000))
        let eon = RoomSchedule(try .generate(rotation: .every(seconds: 1 << 62)))
        #expect(eon.nextRotation(after: UnixTime(seconds: 1)) == nil)
    }

    @Test("the rendezvous names are the present one and the one before")
    func rendezvous() throws {
        let schedule = RoomSchedule(try .generate(rotation: .every(seconds: 60)))
        let now = try schedule.rendezvous(at: UnixTime(seconds: 600))
        let later = try schedule.rendezvous(at: UnixTime(seconds: 660))
        #expect(now.count == 2 && later[1] == now[0] && later[0] != now[0])
    }

    @Test(
        "the next address is that of stock nodes", arguments: VectorFile<NextAddressCase>.load("nextip.json"))
    func nextAddress(_ vector: NextAddressCase) {
        let next = NextAddress.after(vector.inUse)?.description
        if vector.inUse.isEmpty {
            #expect(next == nil && vector.next == vector.default)
        } else {
            #expect(next ?? "<nil>" == vector.next)
        }
    }
}
