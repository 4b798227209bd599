//! Names of Kubernetes Events.

/// The same for the same words, in whichever process, release and architecture: an Event whose name
/// follows from what it says is one object, however often it is said and by how many.
#[must_use]
pub fn fingerprint(words: &[&str]) -> u64 {
    // FNV-1a: the standard library's hash may be another one with each release.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = words
        .iter()
        // No text has this byte, so words that are joined otherwise are other words.
        .flat_map(|word| word.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_have_one_fingerprint_for_ever_and_others_have_another() {
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&["a", "b"]), 0xd2b3_7181_9297_f98a);
        assert_ne!(fingerprint(&["ab", ""]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["ab"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["b", "a"]), fingerprint(&["a", "b"]));
    }
}
