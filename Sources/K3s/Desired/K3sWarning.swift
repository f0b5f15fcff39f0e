/// Something about K3s' settings that the operator should know; nothing is held up for it.
package struct K3sWarning: Hashable, Sendable {
    /// What was found.
    package let what: String
    /// What to do about it.
    package let remedy: String
    /// The file it is in, when it is in a file.
    package let file: String?
    /// The key it is about.
    package let key: String?

    package init(_ what: String, remedy: String, file: String? = nil, key: String? = nil) {
        self.what = what
        self.remedy = remedy
        self.file = file
        self.key = key
    }
}
