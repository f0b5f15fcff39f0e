/// A network token's YAML document as stock nodes read it, before anything is judged: a missing key is
/// empty or 0 (contract/wire.md J.1).
package struct TokenDocument: Hashable, Sendable {
    /// The settings of one rotating password.
    package struct Password: Hashable, Sendable {
        /// Seconds.
        package var interval: Int64 = 0
        package var key = ""
        package var length: Int64 = 0

        package init(interval: Int64 = 0, key: String = "", length: Int64 = 0) {
            self.interval = interval
            self.key = key
            self.length = length
        }
    }

    package var dht = Password()
    package var crypto = Password()
    package var room = ""
    package var rendezvous = ""
    package var mdns = ""
    /// Bytes.
    package var maximumMessageSize: Int64 = 0

    package init() {}

    /// The YAML text, key by key as stock generators write it.
    package var yaml: String {
        var text = "otp:\n"
        for (name, password) in [("dht", dht), ("crypto", crypto)] {
            text += "  \(name):\n"
            text += "    interval: \(password.interval)\n"
            text += "    key: \(YAMLScalar.emit(password.key))\n"
            text += "    length: \(password.length)\n"
        }
        text += "room: \(YAMLScalar.emit(room))\n"
        text += "rendezvous: \(YAMLScalar.emit(rendezvous))\n"
        text += "mdns: \(YAMLScalar.emit(mdns))\n"
        text += "max_message_size: \(maximumMessageSize)\n"
        return text
    }
}
