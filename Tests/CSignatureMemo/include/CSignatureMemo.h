#pragma once

// Remembers signatures, so that a simulated network of nine does not verify each one nine times over.
//
// A program that links this gets its own crypto_sign_detached and crypto_sign_verify_detached before
// libsodium's. They give the answers that libsodium gives, which they ask for whatever they have not seen:
// a remembered answer is given only for the same signature, message and key, compared byte by byte.
// For simulations only. Each thread remembers for itself.

// How many questions were answered from memory, and how many by libsodium, on this thread.
void signature_memo_counts(unsigned long long *remembered, unsigned long long *computed);

// Forgets everything on this thread.
void signature_memo_clear(void);
