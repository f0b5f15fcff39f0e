internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension UnixTime {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`: the form of RFC 9110 §5.6.7, in UTC and without parts of a second.
    var httpDate: String {
        var moment = time_t(seconds)
        var parts = tm()
        gmtime_r(&moment, &parts)
        // strftime(3) names days and months in the language of the process, which never sets one.
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
        return String(decoding: text.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
