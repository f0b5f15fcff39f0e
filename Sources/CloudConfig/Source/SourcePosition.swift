/// Where in a file a key or a value stands: what an operator needs to find it in an editor.
package struct SourcePosition: Hashable, Sendable, CustomStringConvertible {
    /// The file's path, as it was found or given.
    package let file: String
    /// The line, counted from 1.
    package let line: Int
    /// The column, counted from 1 in Unicode scalars.
    package let column: Int

    /// Makes a position from a line and a column that are both counted from 1.
    package init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    package var description: String { "\(file):\(line):\(column)" }
}
