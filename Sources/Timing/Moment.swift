/// One reading of both clocks: for state machines whose decisions depend on elapsed time and whose
/// outputs carry the date.
package struct Moment: Hashable, Sendable {
    /// The monotonic clock's.
    package let instant: Instant
    /// The wall clock's.
    package let wall: UnixTime

    package init(instant: Instant, wall: UnixTime) {
        self.instant = instant
        self.wall = wall
    }
}

extension TimeSource {
    /// Reads both clocks.
    package func moment() -> Moment {
        Moment(instant: now(), wall: wallClock())
    }
}
