import LibP2P

/// The identity that follows from a 32-byte seed.
func testIdentity(seed: [UInt8]) -> Identity {
    // Any 32 bytes are a seed; a failure here is a broken test.
    do { return try Identity(seed: SecretBytes(copying: seed)) } catch { fatalError("\(error)") }
}
