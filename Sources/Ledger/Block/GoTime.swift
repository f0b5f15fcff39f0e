package import Timing

/// Moments as texts, the way Go writes and reads them.
package enum GoTime {
    /// Go's default text of a UTC moment, `2026-01-01 00:00:00.000000001 +0000 UTC`: a fraction without
    /// trailing zeros, left out when it is zero (contract J.6).
    package static func timestamp(_ time: UnixTime) -> LedgerText {
        let nanoseconds = time.nanoseconds - time.seconds * 1_000_000_000
        var fraction = ""
        if nanoseconds != 0 {
            fraction = String(1_000_000_000 + nanoseconds).dropFirst().description
            while fraction.hasSuffix("0") { fraction.removeLast() }
            fraction = "." + fraction
        }
        let (date, clock) = civil(time.seconds)
        return LedgerText("\(date) \(clock)\(fraction) +0000 UTC")
    }

    /// The RFC 3339 text of a moment in UTC, whole seconds: `2026-01-01T00:00:00Z`.
    package static func rfc3339(_ time: UnixTime) -> String {
        let (date, clock) = civil(time.seconds)
        return "\(date)T\(clock)Z"
    }

    private static func civil(_ seconds: Int64) -> (date: String, clock: String) {
        let day = seconds >= 0 ? seconds / 86_400 : -((-seconds + 86_399) / 86_400)
        let second = seconds - day * 86_400
        // Days to a date by the proleptic Gregorian calendar, counted in eras of 400 years from March.
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let dayOfMonth = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        return (
            "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))",
            "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
        )
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// The moment that an RFC 3339 text names, or nil. Reads what Go's reader accepts, which is a
    /// little more than RFC 3339: a comma before the fraction, a one-digit hour, offsets up to 24:60.
    package static func parse(rfc3339 text: LedgerText) -> UnixTime? {
        var cursor = Cursor(text: Array(text.utf8))
        guard let year = cursor.digits(4), cursor.take("-"), let month = cursor.digits(2), cursor.take("-"),
            let day = cursor.digits(2), cursor.take("T"), let hour = cursor.digits(2) ?? cursor.digits(1),
            cursor.take(":"), let minute = cursor.digits(2), cursor.take(":"), let second = cursor.digits(2),
            let nanoseconds = cursor.fraction(), let offset = cursor.offset(), cursor.isAtEnd
        else { return nil }
        guard (1...12).contains(month), (1...daysIn(month: month, of: year)).contains(day), hour < 24,
            minute < 60, second < 60
        else { return nil }
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        return UnixTime(seconds: seconds) + .nanoseconds(nanoseconds)
    }

    private static func daysIn(month: Int64, of year: Int64) -> Int64 {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        switch month {
        case 2: return isLeap ? 29 : 28
        case 4, 6, 9, 11: return 30
        default: return 31
        }
    }

    /// Days from 1970-01-01 to a date of the years 0 to 9999.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private struct Cursor {
        let text: [UInt8]
        var position = 0

        var isAtEnd: Bool { position == text.count }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard position < text.count, text[position] == UInt8(ascii: character) else { return false }
            position += 1
            return true
        }

        /// Exactly `count` digits, or nil and nothing read.
        mutating func digits(_ count: Int) -> Int64? {
            guard text.count - position >= count else { return nil }
            var value: Int64 = 0
            for byte in text[position..<position + count] {
                guard let digit = digit(byte) else { return nil }
                value = value * 10 + digit
            }
            position += count
            return value
        }

        /// The nanoseconds of a fraction, 0 when there is none; digits after the ninth are dropped.
        mutating func fraction() -> Int64? {
            guard take(".") || take(",") else { return 0 }
            let start = position
            var value: Int64 = 0
            while position < text.count, let digit = digit(text[position]) {
                if position - start < 9 { value = value * 10 + digit }
                position += 1
            }
            guard position > start else { return nil }
            for _ in 0..<max(0, 9 - (position - start)) { value *= 10 }
            return value
        }

        /// Seconds east of UTC.
        mutating func offset() -> Int64? {
            if take("Z") { return 0 }
            let sign: Int64
            if take("+") {
                sign = 1
            } else if take("-") {
                sign = -1
            } else {
                return nil
            }
            guard let hours = digits(2), take(":"), let minutes = digits(2), hours <= 24, minutes <= 60 else {
                return nil
            }
            return sign * (hours * 3600 + minutes * 60)
        }

        private func digit(_ byte: UInt8) -> Int64? {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) ? Int64(byte - UInt8(ascii: "0")) : nil
        }
    }
}
